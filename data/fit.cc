// Sizes, and the host's way from a picture to a view.
#include "data/fit.h"

#include "data/transforms.h"

namespace tessera {

Fit fit_of_whole(int picture_height, int picture_width, int height, int width) {
  const bool by_height =
      static_cast<int64_t>(picture_height) * width <= static_cast<int64_t>(picture_width) * height;
  const int64_t have = by_height ? picture_height : picture_width,
                want = by_height ? height : width;
  const int h = by_height ? height : static_cast<int>(picture_height * want / have);
  const int w = by_height ? static_cast<int>(picture_width * want / have) : width;
  return {{0, 0, picture_height, picture_width}, h, w, Interpolation::kBicubic};
}

Image fitted(const Image& picture, const Fit& fit, int height, int width) {
  Image resized = resize_region(picture, fit.from, fit.height, fit.width, fit.interpolation);
  if (fit.height == height && fit.width == width) return resized;
  return center_crop(resized, height, width);
}

}  // namespace tessera
