// A product and a copy, each several times: what the machine does when nobody disturbs it.
#include "train/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int kRuns = 12;

template <class Work>
double best_seconds_of(Device device, const Work& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRuns; ++i) {
    const std::unique_ptr<Moment> start = backend(device).moment();
    work();
    best = std::min(best, backend(device).moment()->seconds_since(*start));
  }
  return best;
}

double copy_bandwidth(Device device) {
  constexpr int64_t kElements = int64_t{64} << 20;
  const Tensor from = Tensor::full({kElements}, 1, DType::kF32, device);
  const Tensor to = Tensor::zeros({kElements}, DType::kF32, device);
  return 2.0 * 4 * kElements / best_seconds_of(device, [&] { raw::copy_(to, from); });
}

}  // namespace

double product_peak(DType dtype, Device device) {
  const auto operand = [&](const Shape& shape, uint32_t site) {
    return raw::to(raw::uniform(shape, {1, 0, site}, -1, 1, DType::kF32, device), dtype);
  };
  const Tensor a = operand({2048, 3072}, 1), b = operand({3072, 2048}, 2);
  return 2.0 * 2048 * 3072 * 2048 / best_seconds_of(device, [&] { raw::matmul(a, b); });
}

Limits measure_limits(DType dtype, Device device) {
  const Limits limits = {product_peak(dtype, device), copy_bandwidth(device)};
  backend(device).allocator().flush();  // half a gigabyte that nobody will ask for again
  return limits;
}

std::string why_not_faster(DType precision, Device device) {
  if (precision == DType::kF32 || backend(device).has_fast_products(precision)) return "";
  return fmt::format(
      "{}: products of it are no faster than f32's on this {}; it makes activations "
      "smaller, not steps shorter",
      name_of(precision), name_of(device));
}

Limits better_of(const Limits& a, const Limits& b) {
  return {std::max(a.flops, b.flops), std::max(a.bytes, b.bytes)};
}

}  // namespace tessera
