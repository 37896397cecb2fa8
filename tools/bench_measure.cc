// Timing loops and the two yardsticks.
#include "tools/bench_measure.h"

#include <algorithm>
#include <chrono>

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int kLimitRuns = 12;
constexpr int kLeastRounds = 3, kMostRounds = 1000;

// The shortest of several runs: what the machine does when nobody disturbs it.
double best_seconds_of(const std::function<void()>& work) {
  double best = seconds_of(work);
  for (int i = 1; i < kLimitRuns; ++i) best = std::min(best, seconds_of(work));
  return best;
}

void wait_for_devices() {
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    if (has_backend(device)) backend(device).synchronize();
  }
}

}  // namespace

double seconds_of(const std::function<void()>& work) {
  wait_for_devices();
  const auto start = std::chrono::steady_clock::now();
  work();
  wait_for_devices();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<double> medians_in_turn(const std::vector<std::function<void()>>& works,
                                    double budget) {
  std::vector<std::vector<double>> times(works.size());
  for (const auto& work : works) work();  // allocations, first touches, plans
  double spent = 0;
  for (int round = 0; round < kLeastRounds || (round < kMostRounds && spent < budget); ++round) {
    double longest = 0;
    for (size_t i = 0; i < works.size(); ++i) {
      times[i].push_back(seconds_of(works[i]));
      longest = std::max(longest, times[i].back());
    }
    spent += longest;
  }
  std::vector<double> medians;
  for (const std::vector<double>& of_one : times) medians.push_back(median(of_one));
  return medians;
}

double product_peak(DType dtype, Device device) {
  const auto operand = [&](const Shape& shape, uint32_t site) {
    return raw::to(raw::uniform(shape, {1, 0, site}, -1, 1, DType::kF32, device), dtype);
  };
  const Tensor a = operand({2048, 3072}, 1), b = operand({3072, 2048}, 2);
  return 2.0 * 2048 * 3072 * 2048 / best_seconds_of([&] { raw::matmul(a, b); });
}

double copy_bandwidth(Device device) {
  constexpr int64_t kElements = int64_t{64} << 20;
  const Tensor from = Tensor::full({kElements}, 1, DType::kF32, device);
  const Tensor to = Tensor::zeros({kElements}, DType::kF32, device);
  return 2.0 * 4 * kElements / best_seconds_of([&] { raw::copy_(to, from); });
}

Limits measure_limits(DType dtype, Device device) {
  const Limits limits = {product_peak(dtype, device), copy_bandwidth(device)};
  backend(device).allocator().flush();  // half a gigabyte that nobody will ask for again
  return limits;
}

Limits better_of(const Limits& a, const Limits& b) {
  return {std::max(a.flops, b.flops), std::max(a.bytes, b.bytes)};
}

}  // namespace tessera
