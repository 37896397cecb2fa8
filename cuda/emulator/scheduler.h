// What the shared memory's watch asks about the thread that is running.
#pragma once

#include <cstdint>
#include <string>

namespace tessera::cuda::emulator {

struct Now {
  int thread = 0;              // of the block
  uint64_t block = 0;          // blocks ever, counted from 1
  uint64_t barriers = 0;       // block barriers and blocks ever: never the same twice
  uint64_t warp_barriers = 0;  // of the thread's warp in this block
};
inline constinit thread_local Now now;

// The block uses an array of its own of so many bytes, beside what the launch gave it. An Error
// when that is more together than the launch may have. Arrays that it never touches are not
// counted.
void take_static(size_t bytes);

// Ends the launch with an Error that names launch, block and thread.
[[noreturn]] void fail(const std::string& what);

}  // namespace tessera::cuda::emulator
