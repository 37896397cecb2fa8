// What happens once a block, and what is said when something is wrong.
#include "cuda/emulator/shared.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/error.h"

namespace tessera::cuda::emulator {

void SharedMemory::resize(size_t bytes) {
  constexpr size_t kAlign = 16;
  bytes_ = bytes;
  data_.resize(bytes + kAlign);
  base_ = data_.data() + (kAlign - reinterpret_cast<uintptr_t>(data_.data()) % kAlign) % kAlign;
  shift_ = kLargestShift;
  const size_t grains = (bytes >> shift_) + 1;
  writes_.resize(grains);
  reads_.resize(grains);
  awaited_.assign(grains, 0);
  copies_ = 0;
  block_ = 0;
}

// Smaller grains: each has the uses of the one it was part of.
void SharedMemory::refine(int shift) {
  const auto cut = [&](auto& grains) {
    std::remove_reference_t<decltype(grains)> finer((bytes_ >> shift) + 1);
    for (size_t g = 0; g < finer.size(); ++g) finer[g] = grains[g >> (shift_ - shift)];
    grains = std::move(finer);
  };
  cut(writes_);
  cut(reads_);
  cut(awaited_);
  shift_ = shift;
}

// A block finds nothing of the one before: all bytes 0xFF, a NaN in every floating type.
void SharedMemory::begin_block() {
  block_ = now.block;
  if (this != &dynamic_memory()) take_static(bytes_);
  start_ = now.barriers;
  raw_ = false;
  std::fill_n(base_, bytes_, 0xFF);
  if (copies_ > 0) std::ranges::fill(awaited_, 0);
  copies_ = 0;
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

void SharedMemory::begin_copy(size_t byte, size_t size) {
  std::memset(write(byte, size), 0xFF, size);
  if (raw_) return;
  for (size_t g = byte >> shift_; g < (byte + size) >> shift_; ++g) awaited_[g] = 1;
  ++copies_;
}

void SharedMemory::finish_copy(size_t byte, const void* from, size_t size) {
  std::memcpy(base_ + byte, from, size);
  if (raw_) return;
  for (size_t g = byte >> shift_; g < (byte + size) >> shift_; ++g) {
    awaited_[g] = 0;
    writes_[g] = now_used();
  }
  --copies_;
}

void SharedMemory::fail_read(size_t grain) const {
  const Use& write = writes_[grain];
  const size_t byte = grain << shift_;
  fail(write.barriers < start_
           ? fmt::format("reads byte {} of shared memory, which nobody has written", byte)
           : fmt::format(
                 "reads byte {} of shared memory, which thread {} writes: no barrier between", byte,
                 write.thread));
}

void SharedMemory::fail_write(size_t grain) const {
  const bool written = races(writes_[grain]);
  const int thread = (written ? writes_ : reads_)[grain].thread;
  const size_t byte = grain << shift_;
  fail(fmt::format("writes byte {} of shared memory, which {} {}: no barrier between", byte,
                   thread == kSeveral ? "several threads" : fmt::format("thread {}", thread),
                   written ? "wrote" : "read"));
}

void SharedMemory::fail_copy(size_t grain, const char* does) const {
  fail(fmt::format("{} byte {} of shared memory, whose copy has not been waited for", does,
                   grain << shift_));
}

}  // namespace tessera::cuda::emulator
