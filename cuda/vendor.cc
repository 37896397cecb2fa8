// Products on an NVIDIA device.
#include "cuda/vendor.h"

#include "cuda/kernels.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs& args) { cuda::gemm(args); }

}  // namespace tessera::cuda::vendor
