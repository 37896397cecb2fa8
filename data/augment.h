// The random draws of augmentation, apart from the transforms that they steer.
// Rule: a pure function of the random stream that it is handed; the loader gives each position of
// each epoch a stream of its own (stream_at).
#pragma once

#include <array>
#include <cstdint>

#include "data/image.h"
#include "data/resize.h"
#include "engine/philox.h"

namespace tessera {

// The stream of one position of one epoch: a key derived from all four by Philox itself.
PhiloxStream stream_at(uint64_t seed, int64_t epoch, RandomSite site, int64_t position);

// torchvision's RandomResizedCrop: ten tries at a box of a share `scale` of the area and an aspect
// ratio within `ratio` (log-uniform); then the largest box in the middle of an allowed ratio.
Region draw_crop(int height, int width, std::array<double, 2> scale, PhiloxStream& random,
                 std::array<double, 2> ratio = {3.0 / 4.0, 4.0 / 3.0});

struct Shift {
  int dy = 0;
  int dx = 0;
};
// Each from -most to most.
Shift draw_shift(int most, PhiloxStream& random);

// torchvision's ColorJitter: brightness, contrast and saturation by a factor from
// [max(0, 1 - x), 1 + x], hue by a turn from [-hue, hue], in random order. 0 leaves one out.
struct ColorJitter {
  double brightness = 0;
  double contrast = 0;
  double saturation = 0;
  double hue = 0;  // at most 0.5
};
Image color_jitter(const Image& image, const ColorJitter& jitter, PhiloxStream& random);

}  // namespace tessera
