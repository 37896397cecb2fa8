// The emulated device's memory. It is the host's, but where the environment has
// TESSERA_CLOSED_DEVICE it is closed to it: whoever touches it outside of a launch, a product or a
// copy dies of SIGSEGV, where a GPU's pointer would have been dereferenced on the host. Rule:
// memory is filled with NaN bits when it is handed out, so that a kernel that reads what nobody
// wrote is seen.
#pragma once

#include <cstddef>

namespace tessera::cuda::emulator {

inline constexpr char kClosedVariable[] = "TESSERA_CLOSED_DEVICE";

void* allocate(size_t bytes);  // nullptr when out of memory; aligned to a page
void release(void* block);

// While one lives, all of the device's memory can be read and written. They may nest.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

}  // namespace tessera::cuda::emulator
