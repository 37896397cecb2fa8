// The runtime of the emulated device: memory of its own (memory.h), and nothing to wait for.
#include "cuda/runtime.h"

#include <cstring>

#include "cuda/emulator/memory.h"
#include "engine/error.h"

namespace tessera::cuda {

std::string why_unavailable() { return ""; }
std::string device_name() { return "the emulator of cuda/emulator"; }
int multiprocessors() { return 4; }
size_t most_shared_bytes() { return size_t{163} << 10; }  // an A100's; an H100 has 227 KB
Stream stream() { return nullptr; }
void synchronize() {}

void* device_allocate(size_t bytes) { return emulator::allocate(bytes); }
void device_free(void* block) { emulator::release(block); }

void copy_from_host(void* device, const void* host, size_t bytes) {
  const emulator::OpenMemory open;
  std::memcpy(device, host, bytes);
}
void copy_to_host(void* host, const void* device, size_t bytes) {
  const emulator::OpenMemory open;
  std::memcpy(host, device, bytes);
}

void check_launch(int error, const char* file, int line) {
  TESSERA_CHECK(error == 0, "[cuda] the launch at {}:{}: error {}", file, line, error);
}

}  // namespace tessera::cuda
