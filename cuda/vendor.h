// What a vendor's library does for the backend: products and convolutions, on plain Views.
// Rule: vendor.cc asks cuBLASLt and cuDNN, emulator/vendor.cc the CPU backend through the engine's
// registry; contracts are those of engine/backend.h. No other file may call such a library.
#pragma once

#include "engine/backend.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs& args);
void conv2d(const ConvArgs& args);
void conv2d_dx(const ConvArgs& args);
void conv2d_dw(const ConvArgs& args);

}  // namespace tessera::cuda::vendor
