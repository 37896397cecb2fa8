// Products and convolutions of the emulated device: its memory is the host's, so the CPU's backend
// can work on it as it is.
#include "cuda/vendor.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs& args) { backend(Device::kCpu).gemm(args); }
void conv2d(const ConvArgs& args) { backend(Device::kCpu).conv2d(args); }
void conv2d_dx(const ConvArgs& args) { backend(Device::kCpu).conv2d_dx(args); }
void conv2d_dw(const ConvArgs& args) { backend(Device::kCpu).conv2d_dw(args); }

}  // namespace tessera::cuda::vendor
