// The runtime of the emulated device: host memory, and nothing to wait for.
// Rule: memory is filled with NaN bits when it is handed out, so that a kernel that reads what
// nobody wrote is seen.
#include "cuda/runtime.h"

#include <cstring>
#include <new>

#include "engine/error.h"

namespace tessera::cuda {
namespace {
constexpr std::align_val_t kAlign{256};  // as cudaMalloc
}

std::string why_unavailable() { return ""; }
std::string device_name() { return "the emulator of cuda/emulator"; }
int multiprocessors() { return 4; }
size_t most_shared_bytes() { return size_t{163} << 10; }  // an A100's; an H100 has 227 KB
Stream stream() { return nullptr; }
void synchronize() {}

void* device_allocate(size_t bytes) {
  void* block = ::operator new(bytes, kAlign, std::nothrow);
  if (block != nullptr) std::memset(block, 0xFF, bytes);
  return block;
}
void device_free(void* block) { ::operator delete(block, kAlign); }

void copy_from_host(void* device, const void* host, size_t bytes) {
  std::memcpy(device, host, bytes);
}
void copy_to_host(void* host, const void* device, size_t bytes) {
  std::memcpy(host, device, bytes);
}

void check_launch(int error, const char* file, int line) {
  TESSERA_CHECK(error == 0, "[cuda] the launch at {}:{}: error {}", file, line, error);
}

}  // namespace tessera::cuda
