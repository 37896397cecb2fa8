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

// FLOP/s of the fastest large product of this type: the best few calls of every implementation that
// the backend offers (Backend::gemm_implementations), ours and the vendors'. On the CPU
// (2048, 3072) x (3072, 2048), under two seconds on two cores. On a device 512 to 8192 a side,
// doubled until one lasts half a millisecond, ten in a row between two Moments: a smaller one alone
// would be timed with the microseconds it takes to queue it.
double product_peak(DType dtype = DType::kF32, Device device = Device::kCpu);

// The same, and bytes/s of the best of several copies, larger than any cache: of 256 MiB on the
// CPU, on a device of 16 to 512 MiB, by the same rule as the products. Taken before and after a
// benchmark, the better of each is the limit. Takes a gigabyte for a moment.
Limits measure_limits(DType dtype, Device device = Device::kCpu);
Limits better_of(const Limits& a, const Limits& b);

// For whoever asks for a 16-bit type where products of it are no faster than f32's: one line, empty
// elsewhere.
std::string why_not_faster(DType precision, Device device);

}  // namespace tessera
