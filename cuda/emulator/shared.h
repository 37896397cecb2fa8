// Shared memory that watches its use: bounds, reads of what no thread of the block has written, and
// races: two threads at one byte, one of them writing, with no barrier between. Nor may a byte be
// used that a copy is on its way to.
// Rule: the same names as in cuda/launch.h; a kernel's source cannot tell the difference. Reading
// and writing are inline: an attention of the op table does it a hundred million times.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/emulator/scheduler.h"

namespace tessera::cuda::emulator {

// Bytes of one block at a time, and who used them last. Uses are kept by grain: as many bytes as
// the smallest access so far, so that arrays of one type have one for each element.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) { resize(bytes); }
  void resize(size_t bytes);
  size_t bytes() const { return bytes_; }

  // The address of `size` bytes at `byte`, for the thread that is running.
  void* read(size_t byte, size_t size) {
    prepare(byte, size);
    if (raw_) return base_ + byte;
    for (size_t g = byte >> shift_; g < (byte + size) >> shift_; ++g) {
      const Use& write = writes_[g];
      if (write.barriers < start_ || races(write)) fail_read(g);
      if (copies_ > 0 && awaited_[g] != 0) fail_copy(g, "reads");
      note_read(reads_[g]);
    }
    return base_ + byte;
  }
  void* write(size_t byte, size_t size) {
    prepare(byte, size);
    if (raw_) return base_ + byte;
    for (size_t g = byte >> shift_; g < (byte + size) >> shift_; ++g) {
      if (races(writes_[g]) || races(reads_[g])) fail_write(g);
      if (copies_ > 0 && awaited_[g] != 0) fail_copy(g, "writes");
      writes_[g] = now_used();
    }
    return base_ + byte;
  }
  // The same for a copy that is on its way: until it is finished the bytes are nobody's.
  void begin_copy(size_t byte, size_t size);
  void finish_copy(size_t byte, const void* from, size_t size);
  // Everything, unchecked from here to the end of the block.
  void* raw();

 private:
  static constexpr int kSeveral = -1;  // more than one
  static constexpr int kLargestShift = 4;
  struct Use {
    uint64_t barriers = 0;  // block barriers ever, when it was used
    uint64_t warp_barriers = 0;
    int thread = kSeveral, warp = kSeveral;
  };

  static Use now_used() { return {now.barriers, now.warp_barriers, now.thread, now.thread / 32}; }
  // Whether the running thread may meet that use: no barrier lies between.
  static bool races(const Use& earlier) {
    if (earlier.barriers != now.barriers || earlier.thread == now.thread) return false;
    return earlier.warp != now.thread / 32 || earlier.warp_barriers == now.warp_barriers;
  }
  // Several readers may have no barrier between; whoever writes next must have one to all of them.
  static void note_read(Use& last) {
    const Use before = last;
    last = now_used();
    if (!races(before)) return;
    last.thread = kSeveral;
    if (before.warp != last.warp) last.warp = kSeveral;
  }

  void prepare(size_t byte, size_t size) {
    if (block_ != now.block) begin_block();
    if (byte + size > bytes_ || byte > bytes_) fail_bounds(byte, size);
    const int most = std::countr_zero(byte | size);
    if (most < shift_) refine(most);
  }
  void begin_block();
  void refine(int shift);
  [[noreturn]] void fail_bounds(size_t byte, size_t size) const;
  [[noreturn]] void fail_read(size_t grain) const;
  [[noreturn]] void fail_write(size_t grain) const;
  [[noreturn]] void fail_copy(size_t grain, const char* does) const;

  size_t bytes_ = 0;
  std::vector<unsigned char> data_;
  unsigned char* base_ = nullptr;    // in data_, aligned as on the device
  int shift_ = kLargestShift;        // a grain is 1 << shift_ bytes
  std::vector<Use> writes_, reads_;  // by grain
  std::vector<uint8_t> awaited_;     // by grain: 1 while a copy is on its way there
  int64_t copies_ = 0;               // so many are
  uint64_t block_ = 0;               // the block that uses it
  uint64_t start_ = 0;  // its barriers at first use; an earlier Use is of another block
  bool raw_ = false;
};

// Copies that the running thread has begun, until it waits for all of them.
void copy_later(SharedMemory* memory, size_t byte, const void* from, size_t size);
void finish_copies();

// An element: reading and writing are seen.
template <class T>
class SharedElement {
 public:
  SharedElement(SharedMemory* memory, size_t byte) : memory_(memory), byte_(byte) {}
  operator T() const { return *static_cast<const T*>(memory_->read(byte_, sizeof(T))); }
  const SharedElement& operator=(const T& value) const {
    *static_cast<T*>(memory_->write(byte_, sizeof(T))) = value;
    return *this;
  }
  const SharedElement& operator=(const SharedElement& other) const {
    return *this = static_cast<T>(other);
  }
  const SharedElement& operator+=(const T& value) const {
    return *this = static_cast<T>(static_cast<T>(*this) + value);
  }

 private:
  SharedMemory* memory_;
  size_t byte_;
};

template <class T>
class Shared {
 public:
  Shared(SharedMemory* memory, size_t byte) : memory_(memory), byte_(byte) {}
  SharedElement<T> operator[](int64_t i) const {
    return {memory_, byte_ + static_cast<size_t>(i) * sizeof(T)};
  }
  T* data() const {
    return reinterpret_cast<T*>(static_cast<unsigned char*>(memory_->raw()) + byte_);
  }
  // An element's worth from global memory, as late as finish_copies().
  void copy_later(int64_t i, const void* from) const {
    emulator::copy_later(memory_, byte_ + static_cast<size_t>(i) * sizeof(T), from, sizeof(T));
  }

 private:
  SharedMemory* memory_;
  size_t byte_;
};

template <class T, int kCount, int kWhich = 0>
Shared<T> shared_array() {
  static thread_local SharedMemory memory(sizeof(T) * kCount);
  return {&memory, 0};
}

SharedMemory& dynamic_memory();  // of the launch that is running

template <class T>
Shared<T> dynamic_shared(size_t byte = 0) {
  return {&dynamic_memory(), byte};
}

}  // namespace tessera::cuda::emulator
