// JPEG files for tests: the program reads them and writes none.
// Rule: 1 or 3 channels; an Error where libjpeg refuses.
#pragma once

#include <cstdint>
#include <vector>

#include "data/image.h"

namespace tessera {

std::vector<uint8_t> encode_jpeg(const Image& image);

}  // namespace tessera
