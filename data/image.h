// Image: a picture in memory, 8 bits a channel.
// Rule: pixels are interleaved rows, (height, width, channels), without padding; a decoded picture
// has 3 channels (R, G, B), a grey one 1. Floats begin only at Normalizer (transforms.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera {

struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<uint8_t> pixels;  // (height, width, channels)

  Image() = default;
  Image(int width, int height, int channels)
      : width(width), height(height), channels(channels), pixels(row_bytes() * height) {}

  size_t row_bytes() const { return static_cast<size_t>(width) * channels; }
  uint8_t* row(int y) { return pixels.data() + row_bytes() * y; }
  const uint8_t* row(int y) const { return pixels.data() + row_bytes() * y; }
  uint8_t& at(int y, int x, int c) { return row(y)[static_cast<size_t>(x) * channels + c]; }
  uint8_t at(int y, int x, int c) const { return row(y)[static_cast<size_t>(x) * channels + c]; }

  bool operator==(const Image& other) const = default;
};

}  // namespace tessera
