// Which part of a picture becomes a view, and through which size.
// Rule: sizes alone; the pixels are looked at by fitted(), or by a device that follows a plan of
// the same fit (picture_stager.h).
#pragma once

#include "data/image.h"
#include "data/resize.h"

namespace tessera {

// `from` of the picture, resized to (height, width), of which the view is the middle.
struct Fit {
  Region from;
  int height = 0, width = 0;
  Interpolation interpolation = Interpolation::kBicubic;
};

// The whole of a picture of (picture_height, picture_width): the size at which a view of (height,
// width) just fits in; for a square one, its side as the shorter side. Bicubic.
Fit fit_of_whole(int picture_height, int picture_width, int height, int width);

Image fitted(const Image& picture, const Fit& fit, int height, int width);

}  // namespace tessera
