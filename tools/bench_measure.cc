// Timing loops.
#include "tools/bench_measure.h"

#include <algorithm>
#include <chrono>

#include "engine/backend.h"

namespace tessera {
namespace {

constexpr int kLeastRounds = 3, kMostRounds = 1000;

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

}  // namespace tessera
