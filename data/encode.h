// Pictures to files, all that the program shows: PNG.
// Rule: 1 or 3 channels, 8 bits; a file appears whole or an Error names it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace tessera {

std::vector<uint8_t> encode_png(const Image& image);

// Written beside the target and renamed over it.
void write_file(const std::string& path, const std::vector<uint8_t>& bytes);
void write_png(const std::string& path, const Image& image);

}  // namespace tessera
