// A loader's copies: beside the kernels, out of memory that the device reads by itself.
// Rule: transfer.cc answers with the toolkit, emulator/transfer.cc with the host, and there a copy
// is late on purpose and sees whether somebody has changed what is to be copied.
#pragma once

#include <cstddef>
#include <memory>

#include "engine/transfer.h"

namespace tessera::cuda {

std::unique_ptr<Transfer> transfer(void* device, size_t bytes);

}  // namespace tessera::cuda
