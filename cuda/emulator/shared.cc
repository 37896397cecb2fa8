// What happens once a block, and what is said when something is wrong.
#include "cuda/emulator/shared.h"

#include <algorithm>

#include "engine/error.h"

namespace tessera::cuda::emulator {

void SharedMemory::resize(size_t bytes) {
  constexpr size_t kAlign = 16;
  bytes_ = bytes;
  data_.resize(bytes + kAlign);
  base_ = data_.data() + (kAlign - reinterpret_cast<uintptr_t>(data_.data()) % kAlign) % kAlign;
  writes_.resize(bytes);
  reads_.resize(bytes);
  block_ = 0;
}

// A block finds nothing of the one before: all bytes 0xFF, a NaN in every floating type.
void SharedMemory::begin_block() {
  block_ = now.block;
  start_ = now.barriers;
  raw_ = false;
  std::fill_n(base_, bytes_, 0xFF);
}

void* SharedMemory::raw() {
  prepare(0, 0);
  raw_ = true;
  return base_;
}

void SharedMemory::fail_bounds(size_t byte, size_t size) const {
  fail(fmt::format("is at bytes {}..{} of {} bytes of shared memory", static_cast<int64_t>(byte),
                   static_cast<int64_t>(byte + size), bytes_));
}

void SharedMemory::fail_read(size_t byte) const {
  const Use& write = writes_[byte];
  fail(write.barriers < start_
           ? fmt::format("reads byte {} of shared memory, which nobody has written", byte)
           : fmt::format(
                 "reads byte {} of shared memory, which thread {} writes: no barrier between", byte,
                 write.thread));
}

void SharedMemory::fail_write(size_t byte) const {
  const bool written = races(writes_[byte]);
  const int thread = (written ? writes_ : reads_)[byte].thread;
  fail(fmt::format("writes byte {} of shared memory, which {} {}: no barrier between", byte,
                   thread == kSeveral ? "several threads" : fmt::format("thread {}", thread),
                   written ? "wrote" : "read"));
}

}  // namespace tessera::cuda::emulator
