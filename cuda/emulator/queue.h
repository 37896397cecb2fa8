// What the emulated device does with work: at once, or, while its thread records, never but in a
// replay. Rule: kernels, products and convolutions come through here, and own what they need.
#pragma once

#include <functional>

namespace tessera::cuda::emulator {

void queue(std::function<void()> work);

}  // namespace tessera::cuda::emulator
