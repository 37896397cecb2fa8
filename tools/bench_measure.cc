// Timing loops.
#include "tools/bench_measure.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLeastRounds = 3, kMostRounds = 1000;
constexpr double kRowSeconds = 2e-3;
constexpr int kMostInARow = 500;          // a device takes about a thousand kernels before we wait
constexpr double kMostHeadStart = 20e-3;  // seconds
constexpr int64_t kFillerElements = 1 << 25;  // 128 MiB, some 60 us of a fast card

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void wait_for_devices() {
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    if (has_backend(device)) backend(device).synchronize();
  }
}

// Times rows of calls by a device's own clock. Before a row the device gets copies that take as
// long as the host takes to queue the row: else short kernels would wait for the host, and what is
// measured would be the host.
class DeviceClock {
 public:
  DeviceClock(Device device, int calls) : backend_(backend(device)), calls_(calls) {
    if (calls == 1) return;  // the call itself lasts
    from_ = Tensor::zeros({kFillerElements}, DType::kF32, device);
    to_ = Tensor::zeros({kFillerElements}, DType::kF32, device);
    raw::copy_(to_, from_);
    const std::unique_ptr<Moment> start = backend_.moment();
    raw::copy_(to_, from_);
    filler_seconds_ = backend_.moment()->seconds_since(*start);
  }

  // Of one call. `queueing`: what the host took to queue this row the last time; from now on, what
  // it took this time.
  double seconds_each(const std::function<void()>& work, double* queueing) const {
    if (from_.defined()) {
      const double head_start = std::min(*queueing, kMostHeadStart);
      for (double busy = 0; busy < head_start; busy += filler_seconds_) raw::copy_(to_, from_);
    }
    const std::unique_ptr<Moment> start = backend_.moment();
    const auto queued = Clock::now();
    for (int i = 0; i < calls_; ++i) work();
    *queueing = tessera::seconds_since(queued);
    return backend_.moment()->seconds_since(*start) / calls_;
  }

 private:
  Backend& backend_;
  int calls_;
  Tensor from_, to_;  // undefined: no head start
  double filler_seconds_ = 0;
};

}  // namespace

double seconds_of(const std::function<void()>& work) {
  wait_for_devices();
  const auto start = Clock::now();
  work();
  wait_for_devices();
  return seconds_since(start);
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

int calls_in_a_row(Device device, const std::function<void()>& work) {
  if (device == Device::kCpu) return 1;
  work();  // plans, allocations
  return static_cast<int>(std::clamp<double>(kRowSeconds / seconds_of(work), 1, kMostInARow));
}

std::vector<double> medians_in_turn(const std::vector<std::function<void()>>& works, double budget,
                                    Device device, int calls) {
  const DeviceClock clock(device, calls);
  std::vector<std::vector<double>> times(works.size());
  std::vector<double> queueing(works.size());
  const auto time = [&](size_t i) {
    return device == Device::kCpu ? seconds_of(works[i])
                                  : clock.seconds_each(works[i], &queueing[i]);
  };
  for (size_t i = 0; i < works.size(); ++i) time(i);  // allocations, first touches, plans
  double spent = 0;
  for (int round = 0; round < kLeastRounds || (round < kMostRounds && spent < budget); ++round) {
    double longest = 0;
    for (size_t i = 0; i < works.size(); ++i) {
      times[i].push_back(time(i));
      longest = std::max(longest, times[i].back() * calls + queueing[i]);
    }
    spent += longest;
  }
  std::vector<double> medians;
  for (const std::vector<double>& of_one : times) medians.push_back(median(of_one));
  return medians;
}

}  // namespace tessera
