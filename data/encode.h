// Pictures as PNG, which is all that the program shows.
// Rule: 1 or 3 channels, 8 bits.
#pragma once

#include <string>

#include "data/image.h"

namespace tessera {

// The bytes of the file.
std::string encode_png(const Image& image);

}  // namespace tessera
