// A product and a copy, each several times: what the machine does when nobody disturbs it.
// Rule: a device gets work that lasts far longer than queueing it does; the host gets work that
// fits its patience.
#include "train/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/raw.h"

namespace tessera {
namespace {

using Work = std::function<void()>;

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kLongEnough = 0.5e-3;  // seconds: a hundred times what queueing a call takes
constexpr int kCallsInARow = 10;        // on a device
constexpr int kProductRounds = 2, kCopyRounds = 6;
constexpr double kNearlyBest = 1.5;               // times the best: whoever took longer is out
constexpr int64_t kHostCopy = int64_t{64} << 20;  // elements of 4 bytes
constexpr int64_t kLeastCopy = int64_t{4} << 20, kMostCopy = int64_t{128} << 20;
constexpr int64_t kLeastSide = 512, kMostSide = 8192;

// Seconds of one call of `calls` in a row, by the clock of the device.
double seconds_each(Device device, int calls, const Work& work) {
  const std::unique_ptr<Moment> start = backend(device).moment();
  for (int i = 0; i < calls; ++i) work();
  return backend(device).moment()->seconds_since(*start) / calls;
}

int calls_in_a_row(Device device) { return device == Device::kCpu ? 1 : kCallsInARow; }

// c (m, n) = a (m, k) b (k, n), random numbers.
struct Product {
  Product(int64_t m, int64_t k, int64_t n, DType dtype, Device device)
      : flops(2.0 * double(m) * double(k) * double(n)) {
    const auto operand = [&](const Shape& shape, uint32_t site) {
      return raw::to(raw::uniform(shape, {1, 0, site}, -1, 1, DType::kF32, device), dtype);
    };
    a = operand({1, m, k}, 1);
    b = operand({1, k, n}, 2);
    c = operand({1, m, n}, 3);
    args.a = a.view();
    args.b = b.view();
    args.c = c.view();
  }

  double flops;
  Tensor a, b, c;
  GemmArgs args;
};

// On a device as large as it takes to last, up to 8192 a side: on a card that makes 800 TFLOP/s
// even 4096 a side is done in 170 us.
std::unique_ptr<Product> large_product(const GemmImplementation& by, DType dtype, Device device) {
  if (device == Device::kCpu) return std::make_unique<Product>(2048, 3072, 2048, dtype, device);
  for (int64_t side = kLeastSide;; side *= 2) {
    auto product = std::make_unique<Product>(side, side, side, dtype, device);
    by.run(product->args);  // makes the library's plans
    const double seconds = seconds_each(device, 1, [&] { by.run(product->args); });
    if (side == kMostSide || seconds > kLongEnough) return product;
  }
}

// Everyone once to warm up and once to see who is fast; the fast ones again, in turn.
double best_seconds(const std::vector<GemmImplementation>& all, const Product& product,
                    Device device) {
  std::vector<double> seconds;
  for (const GemmImplementation& by : all) {
    by.run(product.args);
    seconds.push_back(seconds_each(device, 1, [&] { by.run(product.args); }));
  }
  double best = *std::min_element(seconds.begin(), seconds.end());
  const double limit = kNearlyBest * best;
  for (int round = 0; round < kProductRounds; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (seconds[i] > limit) continue;
      const auto work = [&] { all[i].run(product.args); };
      best = std::min(best, seconds_each(device, calls_in_a_row(device), work));
    }
  }
  return best;
}

double copy_bandwidth(Device device) {
  const bool host = device == Device::kCpu;
  for (int64_t elements = host ? kHostCopy : kLeastCopy;; elements *= 2) {
    const Tensor from = Tensor::full({elements}, 1, DType::kF32, device);
    const Tensor to = Tensor::zeros({elements}, DType::kF32, device);
    const auto copy = [&] { raw::copy_(to, from); };
    copy();
    const bool large = host || elements == kMostCopy;
    if (!large && seconds_each(device, 1, copy) < kLongEnough) continue;
    double best = kNever;
    for (int round = 0; round < kCopyRounds; ++round) {
      best = std::min(best, seconds_each(device, calls_in_a_row(device), copy));
    }
    return 2.0 * 4 * double(elements) / best;
  }
}

}  // namespace

double product_peak(DType dtype, Device device) {
  std::vector<GemmImplementation> all = backend(device).gemm_implementations();
  std::erase_if(all, [&](const GemmImplementation& by) {
    return std::count(by.dtypes.begin(), by.dtypes.end(), dtype) == 0;
  });
  TESSERA_CHECK(!all.empty(), "[limits] nothing on this {} multiplies {}", name_of(device),
                name_of(dtype));
  const std::unique_ptr<Product> product = large_product(all[0], dtype, device);
  return product->flops / best_seconds(all, *product, device);
}

Limits measure_limits(DType dtype, Device device) {
  const Limits limits = {product_peak(dtype, device), copy_bandwidth(device)};
  backend(device).allocator().flush();  // up to a gigabyte that nobody will ask for again
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
