// The runtime of an NVIDIA device.
// Rule: no call before why_unavailable() was asked, so that a program on a machine without a driver
// starts, says so and runs on.
#include "cuda/runtime.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <mutex>

#include "engine/error.h"

namespace tessera::cuda {
namespace {

constexpr int kLeastCapability = 8;  // the kernels are compiled from sm_80 on

void check(cudaError_t error, const char* what) {
  TESSERA_CHECK(error == cudaSuccess, "[cuda] {}: {}", what, cudaGetErrorString(error));
}

// Asked once: it never changes, and the first question starts the driver.
const cudaDeviceProp& properties() {
  static const cudaDeviceProp known = [] {
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, 0), "asking what device 0 is");
    return p;
  }();
  return known;
}

}  // namespace

std::string why_unavailable() {
  static const std::string why = []() -> std::string {
    int driver = 0, count = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "no NVIDIA driver";
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    if (count == 0) return "no CUDA device";
    int major = 0;
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    if (major < kLeastCapability) {
      return fmt::format("the device has compute capability {}, it takes {}", major,
                         kLeastCapability);
    }
    // Starts the device for this program, which another one may have to itself.
    error = cudaFree(nullptr);
    return error == cudaSuccess ? "" : cudaGetErrorString(error);
  }();
  return why;
}

std::string device_name() {
  const cudaDeviceProp& p = properties();
  return fmt::format("{}, {} multiprocessors, {:.0f} GB, compute capability {}.{}", p.name,
                     p.multiProcessorCount, static_cast<double>(p.totalGlobalMem) * 1e-9, p.major,
                     p.minor);
}

int multiprocessors() { return properties().multiProcessorCount; }
size_t most_shared_bytes() { return properties().sharedMemPerBlockOptin; }

Stream stream() {
  static const Stream made = [] {
    cudaStream_t s;
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "making a stream");
    return s;
  }();
  return made;
}

void synchronize() { check(cudaStreamSynchronize(stream()), "waiting for the device"); }

void* device_allocate(size_t bytes) {
  void* block = nullptr;
  const cudaError_t error = cudaMalloc(&block, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is answered here and must not meet the next launch
    return nullptr;
  }
  check(error, "allocating memory");
  return block;
}

// Waits for the device by itself, so no kernel can still be using the block.
void device_free(void* block) { check(cudaFree(block), "freeing memory"); }

// What is small (masks, labels, scalars) goes through pinned memory, so that nobody waits for the
// kernels that are queued before it. The ring is reused once the stream has caught up.
void copy_from_host(void* device, const void* host, size_t bytes) {
  constexpr size_t kRing = size_t{64} << 20, kMost = kRing / 4, kAlign = 256;
  static std::mutex mutex;
  static char* const ring = [] {
    void* pinned = nullptr;
    check(cudaMallocHost(&pinned, kRing), "allocating pinned memory");
    return static_cast<char*>(pinned);
  }();
  static size_t at = 0;
  const std::lock_guard lock(mutex);
  const void* from = host;
  if (bytes <= kMost) {
    if (at + bytes > kRing) {
      synchronize();
      at = 0;
    }
    from = std::memcpy(ring + at, host, bytes);
    at += (bytes + kAlign - 1) / kAlign * kAlign;
  }
  check(cudaMemcpyAsync(device, from, bytes, cudaMemcpyHostToDevice, stream()),
        "copying to the device");
  if (from == host) synchronize();
}

void copy_to_host(void* host, const void* device, size_t bytes) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()),
        "copying from the device");
  synchronize();
}

void check_launch(int error, const char* file, int line) {
  const auto code = static_cast<cudaError_t>(error);
  TESSERA_CHECK(code == cudaSuccess, "[cuda] the launch at {}:{}: {}", file, line,
                cudaGetErrorString(code));
}

}  // namespace tessera::cuda
