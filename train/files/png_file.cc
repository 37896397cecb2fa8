// A PNG, encoded by data/encode.h, through the one way that files are written.
#include "train/files/png_file.h"

#include "data/encode.h"
#include "train/files/atomic_file.h"

namespace tessera {

void write_png(const std::string& path, const Image& image) {
  write_file_atomically(path, encode_png(image));
}

}  // namespace tessera
