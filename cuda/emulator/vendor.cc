// Products of the emulated device: its memory is the host's, so the CPU's backend can work on it as
// it is. Convolutions are our own, as where cuDNN is missing.
#include "cuda/vendor.h"

#include "cuda/emulator/memory.h"
#include "cuda/emulator/queue.h"
#include "cuda/kernels.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs& args) {
  emulator::queue([args] {
    const emulator::OpenMemory open;
    backend(Device::kCpu).gemm(args);
  });
}
bool gemm_depends_on_strides() { return false; }
int64_t own_products() { return 0; }

void conv2d(const ConvArgs& args) { cuda::conv2d(args); }
void conv2d_dx(const ConvArgs& args) { cuda::conv2d_dx(args); }
void conv2d_dw(const ConvArgs& args) { cuda::conv2d_dw(args); }
std::string describe() { return "convolutions by our own kernels"; }

}  // namespace tessera::cuda::vendor
