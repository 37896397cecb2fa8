// Products by cuBLASLt, convolutions by cuDNN.
#include "cuda/vendor.h"

#include "engine/error.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs&) { throw Error("[gemm] is not implemented on cuda"); }
void conv2d(const ConvArgs&) { throw Error("[conv2d] is not implemented on cuda"); }
void conv2d_dx(const ConvArgs&) { throw Error("[conv2d_dx] is not implemented on cuda"); }
void conv2d_dw(const ConvArgs&) { throw Error("[conv2d_dw] is not implemented on cuda"); }

}  // namespace tessera::cuda::vendor
