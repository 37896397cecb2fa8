// Shared memory that watches its use: bounds, reads of what no thread of the block has written, and
// races: two threads at one element, one of them writing, with no barrier between.
// Rule: the same names as in cuda/launch.h; a kernel's source cannot tell the difference. Reading
// and writing are inline: an attention of the op table does it a hundred million times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/emulator/scheduler.h"

namespace tessera::cuda::emulator {

// Bytes of one block at a time, and who used them last.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) { resize(bytes); }
  void resize(size_t bytes);
  size_t bytes() const { return bytes_; }

  // The address of `size` bytes at `byte`, for the thread that is running.
  void* read(size_t byte, size_t size) {
    prepare(byte, size);
    if (raw_) return base_ + byte;
    const Use& write = writes_[byte];
    if (write.barriers < start_ || races(write)) fail_read(byte);
    note_read(reads_[byte]);
    return base_ + byte;
  }
  void* write(size_t byte, size_t size) {
    prepare(byte, size);
    if (raw_) return base_ + byte;
    if (races(writes_[byte]) || races(reads_[byte])) fail_write(byte);
    writes_[byte] = now_used();
    return base_ + byte;
  }
  // Everything, unchecked from here to the end of the block.
  void* raw();

 private:
  static constexpr int kSeveral = -1;  // more than one
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
  }
  void begin_block();
  [[noreturn]] void fail_bounds(size_t byte, size_t size) const;
  [[noreturn]] void fail_read(size_t byte) const;
  [[noreturn]] void fail_write(size_t byte) const;

  size_t bytes_ = 0;
  std::vector<unsigned char> data_;
  unsigned char* base_ = nullptr;    // in data_, aligned as on the device
  std::vector<Use> writes_, reads_;  // by first byte
  uint64_t block_ = 0;               // the block that uses it
  uint64_t start_ = 0;  // its barriers at first use; an earlier Use is of another block
  bool raw_ = false;
};

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
