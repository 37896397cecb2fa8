// A second device made of the first: every kernel call goes to the CPU's, with each output moved
// into a block of its own whose margins and gaps hold a pattern that must survive.
// Rule: outputs start as NaN bits, so that an element a kernel forgets is seen, and every result
// must equal the CPU's to the bit. It also proves that nothing above the waist reads a device's
// memory behind the waist's back.
#pragma once

#include <string>

#include "engine/device.h"

namespace tessera::ops_test {

// The place in the registry that a CPU-only test program leaves free.
inline constexpr Device kGuardDevice = Device::kCuda;

void install_guard_device();

// The first fault since clear_guard_report; empty when there is none.
const std::string& guard_report();
void clear_guard_report();

}  // namespace tessera::ops_test
