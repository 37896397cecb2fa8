// What a vendor's library does for the backend: products, on plain Views.
// Rule: vendor.cc asks the library, emulator/vendor.cc the CPU backend through the engine's
// registry; contracts are those of engine/backend.h. No other file may call such a library.
#pragma once

#include "engine/backend.h"

namespace tessera::cuda::vendor {

void gemm(const GemmArgs& args);

}  // namespace tessera::cuda::vendor
