// A bounded walk through the first directory of a TIFF block, and the eight orientations.
// Rule: no length or offset of the block is trusted.
#include "data/exif.h"

#include <utility>

namespace tessera {
namespace {

constexpr int kOrientationTag = 0x0112;
constexpr int kTypeShort = 3;
constexpr size_t kEntryBytes = 12;

}  // namespace

int exif_orientation(std::span<const uint8_t> tiff) {
  if (tiff.size() < 8) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  auto u16 = [&](size_t at) -> uint32_t {
    return little ? tiff[at] | tiff[at + 1] << 8 : tiff[at] << 8 | tiff[at + 1];
  };
  auto u32 = [&](size_t at) -> uint64_t {
    return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2);
  };
  const uint64_t directory = u32(4);
  if (u16(2) != 42 || directory + 2 > tiff.size()) return 1;
  const uint32_t entries = u16(directory);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > tiff.size()) return 1;
    if (u16(entry) != kOrientationTag) continue;
    const uint32_t value = u16(entry + 8);
    return u16(entry + 2) == kTypeShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swaps = orientation >= 5;  // rows become columns
  // Where output pixel (y, x) comes from: in the output's own axes for 2..4, the transposed
  // for 5..8.
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out(swaps ? image.height : image.width, swaps ? image.width : image.height, image.channels);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const int u = swaps ? y : x, v = swaps ? x : y;  // source column, row before mirroring
      const int sx = from_right ? image.width - 1 - u : u;
      const int sy = from_bottom ? image.height - 1 - v : v;
      for (int c = 0; c < image.channels; ++c) out.at(y, x, c) = image.at(sy, sx, c);
    }
  }
  return out;
}

}  // namespace tessera
