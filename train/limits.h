// What bounds everything on a device: the yardsticks of profiles and of `tessera bench`.
// Rule: limits are measured in the process and the minutes of what is held against them, since
// machines are shared and differ.
#pragma once

#include <string>

#include "engine/device.h"
#include "engine/dtype.h"

namespace tessera {

// On the CPU with all threads of this process. 0: not known.
struct Limits {
  double flops = 0;  // FLOP/s of a large product
  double bytes = 0;  // bytes/s, read and written together, of a large copy
};

// FLOP/s of the best of several products (2048, 3072) x (3072, 2048) of this type.
double product_peak(DType dtype = DType::kF32, Device device = Device::kCpu);

// The same, and bytes/s of the best of several copies of 256 MiB, larger than any cache. Taken
// before and after a benchmark, the better of each is the limit.
Limits measure_limits(DType dtype, Device device = Device::kCpu);
Limits better_of(const Limits& a, const Limits& b);

// For whoever asks for a 16-bit type where products of it are no faster than f32's: one line, empty
// elsewhere.
std::string why_not_faster(DType precision, Device device);

}  // namespace tessera
