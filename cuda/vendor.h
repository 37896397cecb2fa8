// What a vendor's libraries do for the backend: products and convolutions, on plain Views.
// Rule: vendor.cc and vendor_conv.cc ask the libraries; emulator/vendor.cc asks the CPU backend for
// products, through the engine's registry, and our own kernels for convolutions. Contracts are
// those of engine/backend.h. No other file may call such a library.
#pragma once

#include <cstdint>
#include <string>

#include "engine/backend.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs& args);
bool gemm_depends_on_strides();
// How many calls of gemm so far the library had nothing for, so that our own product did them: tens
// of times slower. A replayed graph counts once, when it is recorded.
int64_t own_products();

void conv2d(const ConvArgs& args);
void conv2d_dx(const ConvArgs& args);
void conv2d_dw(const ConvArgs& args);

std::string describe();  // who makes the convolutions, for `tessera info`

}  // namespace tessera::cuda::vendor
