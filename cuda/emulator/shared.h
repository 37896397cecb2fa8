// Shared memory that watches its use: bounds, reads of what no thread of the block has written, and
// races: two threads at one element, one of them writing, with no barrier between.
// Rule: the same names as in cuda/launch.h; a kernel's source cannot tell the difference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace tessera::cuda::emulator {

// Bytes of one block at a time, and who used them last.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) { resize(bytes); }
  void resize(size_t bytes);
  size_t bytes() const { return bytes_; }

  // The address of `size` bytes at `byte`, for the thread that is running.
  void* read(size_t byte, size_t size);
  void* write(size_t byte, size_t size);
  // Everything, unchecked from here to the end of the block.
  void* raw();

 private:
  struct Use {
    uint64_t barriers = 0;  // block barriers ever, when it was used; 0: not in this block
    uint64_t warp_barriers = 0;
    int thread = kSeveral, warp = kSeveral;
  };
  static constexpr int kSeveral = -1;  // more than one

  void begin_block();
  void check_bounds(size_t byte, size_t size) const;
  static bool races(const Use& earlier);
  static Use now_used();

  size_t bytes_ = 0;
  std::vector<uint64_t> data_;
  std::vector<Use> writes_, reads_;  // by first byte
  uint64_t block_ = 0;
  bool raw_ = false;

  unsigned char* base();
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
