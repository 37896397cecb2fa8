// Clocks, and what the machine can do at best: the yardsticks of every `tessera bench` command.
// Rule: limits are measured in the process and the minutes of what is held against them, since
// machines are shared and differ.
#pragma once

#include <functional>
#include <vector>

#include "engine/device.h"
#include "engine/dtype.h"

namespace tessera {

// Wall-clock time of one call, and of what it started on any device.
double seconds_of(const std::function<void()>& work);

// The middle value; of an even count the upper of the two in the middle. 0 of nothing.
double median(std::vector<double> values);

// Median seconds of each work. They run in turn, so that whoever else uses the machine hits all of
// them alike: once without counting, then until the slowest has had `budget` seconds, three times
// at least.
std::vector<double> medians_in_turn(const std::vector<std::function<void()>>& works, double budget);

// What bounds everything else on a device; on the CPU with all threads of this process.
struct Limits {
  double flops = 0;  // FLOP/s of a large product
  double bytes = 0;  // bytes/s, read and written together, of a large copy
};

// FLOP/s of the best of several products (2048, 3072) x (3072, 2048) of this type.
double product_peak(DType dtype = DType::kF32, Device device = Device::kCpu);
// Bytes/s of the best of several copies of 256 MiB: larger than any cache.
double copy_bandwidth(Device device = Device::kCpu);

// Both. Taken before and after a benchmark, the better of each is the limit.
Limits measure_limits(DType dtype, Device device = Device::kCpu);
Limits better_of(const Limits& a, const Limits& b);

}  // namespace tessera
