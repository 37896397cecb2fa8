// Levels: transforms that look a value up in a table, one for all channels or one for each.
// Rule: Pillow's whole-number arithmetic (ImageOps), which the goldens hold to the level.
#include <algorithm>
#include <array>
#include <numeric>

#include "data/transforms.h"
#include "engine/error.h"

namespace tessera {
namespace {

using Table = std::array<uint8_t, 256>;
using Histogram = std::array<int64_t, 256>;

template <class Level>
Table table_of(Level&& level) {
  Table table;
  for (int i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(std::clamp(level(i), 0, 255));
  return table;
}

template <class Level>
Image map_levels(const Image& image, Level&& level) {
  const Table table = table_of(level);
  Image out = image;
  for (uint8_t& p : out.pixels) p = table[p];
  return out;
}

// Each channel through the table that its own histogram gives.
template <class MakeTable>
Image map_channels(const Image& image, MakeTable&& make_table) {
  Image out = image;
  const size_t channels = static_cast<size_t>(image.channels);
  for (size_t c = 0; c < channels; ++c) {
    Histogram histogram{};
    for (size_t i = c; i < image.pixels.size(); i += channels) ++histogram[image.pixels[i]];
    const Table table = make_table(histogram);
    for (size_t i = c; i < out.pixels.size(); i += channels) out.pixels[i] = table[out.pixels[i]];
  }
  return out;
}

Table unchanged() {
  return table_of([](int i) { return i; });
}

bool occurs(int64_t count) { return count > 0; }

Table stretched(const Histogram& histogram) {
  const auto first = std::find_if(histogram.begin(), histogram.end(), occurs);
  const auto last = std::find_if(histogram.rbegin(), histogram.rend(), occurs);
  const int low = static_cast<int>(first - histogram.begin());
  const int high = 255 - static_cast<int>(last - histogram.rbegin());
  if (high <= low) return unchanged();
  const double scale = 255.0 / (high - low), offset = -low * scale;
  return table_of([&](int i) { return static_cast<int>(i * scale + offset); });
}

// Pillow's: the highest level that occurs is left out of the step between levels.
Table equalized(const Histogram& histogram) {
  const auto last = std::find_if(histogram.rbegin(), histogram.rend(), occurs);
  if (last == histogram.rend()) return unchanged();
  const int64_t total = std::accumulate(histogram.begin(), histogram.end(), int64_t{0});
  const int64_t step = (total - *last) / 255;
  if (step == 0) return unchanged();  // a single level, too
  int64_t below = step / 2;
  return table_of([&](int i) {
    const int64_t level = below / step;
    below += histogram[i];
    return static_cast<int>(level);
  });
}

}  // namespace

Image posterize(const Image& image, int bits) {
  TESSERA_CHECK(bits >= 0 && bits <= 8, "[posterize] {} bits, wanted 0 to 8", bits);
  const int mask = 0xff << (8 - bits) & 0xff;
  return map_levels(image, [mask](int i) { return i & mask; });
}

Image solarize(const Image& image, int threshold) {
  TESSERA_CHECK(threshold >= 0 && threshold <= 256, "[solarize] threshold {} is outside 0..256",
                threshold);
  return map_levels(image, [threshold](int i) { return i < threshold ? i : 255 - i; });
}

Image solarize_add(const Image& image, int amount) {
  return map_levels(image, [amount](int i) { return i < 128 ? i + amount : i; });
}

Image invert(const Image& image) {
  return map_levels(image, [](int i) { return 255 - i; });
}

Image autocontrast(const Image& image) { return map_channels(image, stretched); }

Image equalize(const Image& image) { return map_channels(image, equalized); }

}  // namespace tessera
