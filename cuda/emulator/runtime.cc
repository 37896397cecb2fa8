// The runtime of the emulated device: memory of its own (memory.h), and nothing to wait for; but
// who copies to the host without waiting is told that nothing is there until he waits, as a slow
// device would, and a recording refuses what CUDA's refuses.
#include "cuda/runtime.h"

#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "cuda/emulator/memory.h"
#include "cuda/emulator/queue.h"
#include "engine/error.h"

namespace tessera::cuda {
namespace {

using Works = std::vector<std::function<void()>>;

thread_local std::unique_ptr<Works> recorded;  // nullptr: this thread does not record

void check_may(const char* what) {
  TESSERA_CHECK(recorded == nullptr, "[emulator] a recorded step must not {}", what);
}

class LateCopy final : public HostCopy {
 public:
  explicit LateCopy(size_t bytes) : bytes_(bytes) {}
  void queue(const void* device) override {
    copy_to_host(bytes_.data(), device, bytes_.size());
    ready_ = false;
  }
  bool ready() override { return ready_; }
  const void* wait() override {
    ready_ = true;
    return bytes_.data();
  }

 private:
  std::vector<std::byte> bytes_;
  bool ready_ = true;
};

class RecordedWorks final : public Graph {
 public:
  explicit RecordedWorks(Works works) : works_(std::move(works)) {}
  void replay() override {
    for (const std::function<void()>& work : works_) work();
  }

 private:
  Works works_;
};

}  // namespace

void emulator::queue(std::function<void()> work) {
  if (recorded != nullptr) {
    recorded->push_back(std::move(work));
  } else {
    work();
  }
}

Recording::Recording() { recorded = std::make_unique<Works>(); }
Recording::~Recording() { recorded.reset(); }
std::unique_ptr<Graph> Recording::finish() {
  return std::make_unique<RecordedWorks>(std::move(*std::exchange(recorded, nullptr)));
}

std::string why_unavailable() { return ""; }
std::string device_name() { return "the emulator of cuda/emulator"; }
int multiprocessors() { return 4; }
size_t most_shared_bytes() { return size_t{163} << 10; }  // an A100's; an H100 has 227 KB
Stream stream() { return nullptr; }
void synchronize() { check_may("wait for the device"); }

void* device_allocate(size_t bytes) { return emulator::allocate(bytes); }
void device_free(void* block) { emulator::release(block); }

void copy_from_host(void* device, const void* host, size_t bytes) {
  check_may("copy from the host");
  const emulator::OpenMemory open;
  std::memcpy(device, host, bytes);
}
void copy_to_host(void* host, const void* device, size_t bytes) {
  check_may("copy to the host");
  const emulator::OpenMemory open;
  std::memcpy(host, device, bytes);
}

std::unique_ptr<HostCopy> host_copy(size_t bytes) { return std::make_unique<LateCopy>(bytes); }

std::unique_ptr<Moment> moment() {
  check_may("measure time");
  return backend(Device::kCpu).moment();
}

void check_launch(int error, const char* file, int line) {
  TESSERA_CHECK(error == 0, "[cuda] the launch at {}:{}: error {}", file, line, error);
}

}  // namespace tessera::cuda
