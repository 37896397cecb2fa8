// Resampling of 8-bit pictures, to the bit as Pillow 9 does it (libImaging/Resample.c).
// Rule: antialiased: the kernel widens with the reduction. Two passes, rows then columns, in fixed
// point with 22 fractional bits, rounded and clipped to 8 bits after each.
#pragma once

#include <string_view>

#include "data/image.h"

namespace tessera {

enum class Interpolation { kNearest, kBox, kBilinear, kBicubic, kLanczos };

// "nearest", "box", "bilinear", "bicubic", "lanczos"; a UsageError for any other name.
Interpolation interpolation_from_name(std::string_view name);

// A rectangle of whole pixels.
struct Region {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
};

// Crop to `region`, then resize to (height, width); pixels outside the region are never looked at.
// Error: a region that is empty or not inside the picture, a target below 1 x 1.
Image resize_region(const Image& image, const Region& region, int height, int width,
                    Interpolation interpolation);

}  // namespace tessera
