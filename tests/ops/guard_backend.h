// A device in front of another: while it watches, every kernel call gets its outputs in blocks of
// their own whose margins and gaps hold a pattern that must survive. Rule: outputs start as NaN
// bits, so that an element a kernel forgets is seen, and every result must equal the unwatched one
// to the bit. Before the CPU it also proves that nothing above the waist reads a device's memory
// behind the waist's back.
#pragma once

#include <cstdint>
#include <string>

#include "engine/device.h"

namespace tessera::ops_test {

// The place in the registry that a CPU-only test program leaves free; in front of the CUDA device
// it takes that one's place.
inline constexpr Device kGuardDevice = Device::kCuda;

void install_guard_device(Device real);

// For as long as it lives, the guard device watches; else it only hands calls on. Outputs lie at
// multiples of 64 bytes, or at none but their elements' size.
class Watch {
 public:
  explicit Watch(bool aligned);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
};

// The first fault since the last Watch began; empty when there is none.
const std::string& guard_report();

// How many products and convolutions the guard device has handed on, ever.
int64_t guarded_products();

}  // namespace tessera::ops_test
