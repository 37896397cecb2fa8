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

thread_local bool recording = false;

void check_may(const char* what) {
  TESSERA_CHECK(!recording, "[cuda] a recorded step must not {}", what);
}

// Pinned memory, and an event that says when it is filled.
class PinnedCopy final : public HostCopy {
 public:
  explicit PinnedCopy(size_t bytes) : bytes_(bytes) {
    check(cudaMallocHost(&pinned_, bytes), "allocating pinned memory");
    check(cudaEventCreateWithFlags(&filled_, cudaEventDisableTiming), "making an event");
  }
  ~PinnedCopy() override {
    cudaEventSynchronize(filled_);  // a copy may be under way
    cudaEventDestroy(filled_);
    cudaFreeHost(pinned_);
  }
  void queue(const void* device) override {
    check_may("copy to the host");
    check(cudaMemcpyAsync(pinned_, device, bytes_, cudaMemcpyDeviceToHost, stream()),
          "copying from the device");
    check(cudaEventRecord(filled_, stream()), "recording an event");
  }
  bool ready() override {
    const cudaError_t state = cudaEventQuery(filled_);
    if (state != cudaErrorNotReady) check(state, "asking for an event");
    return state == cudaSuccess;
  }
  const void* wait() override {
    check(cudaEventSynchronize(filled_), "waiting for the device");
    return pinned_;
  }

 private:
  size_t bytes_;
  void* pinned_ = nullptr;
  cudaEvent_t filled_ = nullptr;
};

// An event on the stream; its clock tells half microseconds apart.
class EventMoment final : public Moment {
 public:
  EventMoment() {
    check_may("measure time");
    check(cudaEventCreate(&event_), "making an event");
    check(cudaEventRecord(event_, stream()), "recording an event");
  }
  ~EventMoment() override { cudaEventDestroy(event_); }
  double seconds_since(const Moment& earlier) const override {
    check(cudaEventSynchronize(event_), "waiting for the device");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, static_cast<const EventMoment&>(earlier).event_,
                               event_),
          "measuring time");
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class RuntimeGraph final : public Graph {
 public:
  explicit RuntimeGraph(cudaGraph_t graph) {
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "making a graph");
  }
  ~RuntimeGraph() override { cudaGraphExecDestroy(executable_); }
  void replay() override { check(cudaGraphLaunch(executable_, stream()), "launching a graph"); }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

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

void synchronize() {
  check_may("wait for the device");
  check(cudaStreamSynchronize(stream()), "waiting for the device");
}

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
  check_may("copy from the host");
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
  check_may("copy to the host");
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()),
        "copying from the device");
  synchronize();
}

std::unique_ptr<Moment> moment() { return std::make_unique<EventMoment>(); }

std::unique_ptr<HostCopy> host_copy(size_t bytes) { return std::make_unique<PinnedCopy>(bytes); }

// Relaxed: a recorded step may allocate, and other threads may do as they like.
Recording::Recording() {
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed), "starting to record");
  recording = true;
}

Recording::~Recording() {
  if (!recording) return;
  recording = false;
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream(), &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();  // that the recording came to nothing is known
}

std::unique_ptr<Graph> Recording::finish() {
  recording = false;
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream(), &graph), "recording");
  return std::make_unique<RuntimeGraph>(graph);
}

void check_launch(int error, const char* file, int line) {
  const auto code = static_cast<cudaError_t>(error);
  TESSERA_CHECK(code == cudaSuccess, "[cuda] the launch at {}:{}: {}", file, line,
                cudaGetErrorString(code));
}

}  // namespace tessera::cuda
