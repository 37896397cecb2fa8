// Pictures to files.
#pragma once

#include <string>

#include "data/image.h"

namespace tessera {

// A PNG of 1 or 3 channels, whole or not at all (atomic_file.h).
void write_png(const std::string& path, const Image& image);

}  // namespace tessera
