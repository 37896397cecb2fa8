// Products of the emulated device: its memory is the host's, so the CPU's backend can work on it as
// it is.
#include "cuda/vendor.h"

#include "cuda/emulator/memory.h"
#include "cuda/emulator/queue.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs& args) {
  emulator::queue([args] {
    const emulator::OpenMemory open;
    backend(Device::kCpu).gemm(args);
  });
}

}  // namespace tessera::cuda::vendor
