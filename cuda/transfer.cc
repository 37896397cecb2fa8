// Pinned memory, a second stream, and two events for each copy: when the device's block was free,
// and when it is filled.
#include "cuda/transfer.h"

#include <cuda_runtime_api.h>

#include "cuda/runtime.h"
#include "engine/allocator.h"
#include "engine/error.h"

namespace tessera::cuda {
namespace {

void check(cudaError_t error, const char* what) {
  TESSERA_CHECK(error == cudaSuccess, "[cuda] {}: {}", what, cudaGetErrorString(error));
}

Stream copy_stream() {
  static const Stream made = [] {
    cudaStream_t s;
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "making a stream for copies");
    return s;
  }();
  return made;
}

// To pin memory takes a millisecond a few megabytes, so what was pinned is kept. Never destroyed:
// a loader may outlive any order of destructors.
CachingAllocator& pinned() {
  static CachingAllocator* one = new CachingAllocator(
      [](size_t bytes) -> void* {
        void* block = nullptr;
        const cudaError_t error = cudaMallocHost(&block, bytes);
        if (error == cudaErrorMemoryAllocation) {
          cudaGetLastError();  // it is answered here and must not meet the next launch
          return nullptr;
        }
        check(error, "allocating pinned memory");
        return block;
      },
      [](void* block, size_t) { check(cudaFreeHost(block), "freeing pinned memory"); });
  return *one;
}

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&made_, cudaEventDisableTiming), "making an event"); }
  ~Event() { cudaEventDestroy(made_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return made_; }

 private:
  cudaEvent_t made_ = nullptr;
};

class Pinned {
 public:
  explicit Pinned(size_t bytes) : bytes_(bytes), data_(pinned().allocate(bytes)) {}
  ~Pinned() { pinned().release(data_, bytes_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  void* data_;
};

class PinnedTransfer final : public Transfer {
 public:
  PinnedTransfer(void* device, size_t bytes) : device_(device), host_(bytes) {
    check(cudaEventRecord(free_, stream()), "recording an event");
  }
  ~PinnedTransfer() override {
    if (sent_) cudaEventSynchronize(there_);  // an error comes out at the next launch
  }

  void* host() override { return host_.data(); }
  void send() override {
    check(cudaStreamWaitEvent(copy_stream(), free_), "waiting before a copy");
    check(cudaMemcpyAsync(device_, host_.data(), host_.bytes(), cudaMemcpyHostToDevice,
                          copy_stream()),
          "copying to the device");
    check(cudaEventRecord(there_, copy_stream()), "recording an event");
    sent_ = true;
  }
  void arrive() override {
    TESSERA_CHECK(sent_, "[cuda] a copy is awaited that nobody has begun");
    check(cudaStreamWaitEvent(stream(), there_), "waiting for a copy");
  }

 private:
  void* device_;
  Pinned host_;
  Event free_, there_;
  bool sent_ = false;
};

}  // namespace

std::unique_ptr<Transfer> transfer(void* device, size_t bytes) {
  return std::make_unique<PinnedTransfer>(device, bytes);
}

}  // namespace tessera::cuda
