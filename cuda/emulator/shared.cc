// Who used which byte of shared memory, and when.
#include "cuda/emulator/shared.h"

#include <cstring>

#include "cuda/emulator/scheduler.h"
#include "engine/error.h"

namespace tessera::cuda::emulator {

void SharedMemory::resize(size_t bytes) {
  bytes_ = bytes;
  data_.assign(bytes / 8 + 3, 0);
  writes_.assign(bytes, {});
  reads_.assign(bytes, {});
  block_ = 0;
}

// 16-byte aligned, as on the device.
unsigned char* SharedMemory::base() {
  const auto at = reinterpret_cast<uintptr_t>(data_.data());
  return reinterpret_cast<unsigned char*>((at + 15) / 16 * 16);
}

// A block finds nothing of the one before: all bytes 0xFF, a NaN in every floating type.
void SharedMemory::begin_block() {
  if (block_ == now().block) return;
  block_ = now().block;
  raw_ = false;
  std::memset(base(), 0xFF, bytes_);
  writes_.assign(bytes_, {});
  reads_.assign(bytes_, {});
}

void SharedMemory::check_bounds(size_t byte, size_t size) const {
  if (byte + size > bytes_ || byte > bytes_) {
    fail(fmt::format("bytes {}..{} of {} bytes of shared memory", static_cast<int64_t>(byte),
                     static_cast<int64_t>(byte + size), bytes_));
  }
}

// Whether the running thread may meet that use: no barrier lies between.
bool SharedMemory::races(const Use& earlier) {
  const Now current = now();
  if (earlier.barriers != current.barriers || earlier.thread == current.thread) return false;
  return earlier.warp != current.thread / 32 || earlier.warp_barriers == current.warp_barriers;
}

SharedMemory::Use SharedMemory::now_used() {
  const Now current = now();
  return {current.barriers, current.warp_barriers, current.thread, current.thread / 32};
}

void* SharedMemory::read(size_t byte, size_t size) {
  begin_block();
  check_bounds(byte, size);
  if (raw_) return base() + byte;
  if (writes_[byte].barriers == 0) {
    fail(fmt::format("reads byte {} of shared memory, which nobody has written", byte));
  }
  if (races(writes_[byte])) {
    fail(fmt::format("reads byte {} of shared memory, which thread {} writes: no barrier between",
                     byte, writes_[byte].thread));
  }
  // Several readers may have no barrier between; whoever writes next must have one to all of them.
  const Use last = reads_[byte];
  reads_[byte] = now_used();
  if (races(last)) {
    reads_[byte].thread = kSeveral;
    if (last.warp != reads_[byte].warp) reads_[byte].warp = kSeveral;
  }
  return base() + byte;
}

void* SharedMemory::write(size_t byte, size_t size) {
  begin_block();
  check_bounds(byte, size);
  if (raw_) return base() + byte;
  for (const Use* earlier : {&writes_[byte], &reads_[byte]}) {
    if (!races(*earlier)) continue;
    fail(fmt::format("writes byte {} of shared memory, which {} {}: no barrier between", byte,
                     earlier->thread == kSeveral ? std::string("several threads")
                                                 : fmt::format("thread {}", earlier->thread),
                     earlier == &writes_[byte] ? "wrote" : "read"));
  }
  writes_[byte] = now_used();
  return base() + byte;
}

void* SharedMemory::raw() {
  begin_block();
  raw_ = true;
  return base();
}

}  // namespace tessera::cuda::emulator
