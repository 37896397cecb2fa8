// The picture transforms that training needs, as torchvision's functional transforms on Pillow
// pictures compute them, to the level.
// Rule: pure functions of their arguments; nothing is drawn here (see augment.h). Pictures have 1
// or 3 channels. On a grey picture hue and saturation change nothing.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "data/image.h"
#include "data/resize.h"

namespace tessera {

Image resize(const Image& image, int height, int width, Interpolation interpolation);

// The shorter side becomes `size`, the longer one size * long / short, rounded down.
Image resize_shorter_side(const Image& image, int size, Interpolation interpolation);

// Crop, then resize to size = (height, width).
Image resized_crop(const Image& image, int top, int left, int height, int width,
                   std::array<int, 2> size, Interpolation interpolation);

// The middle (height, width); a smaller picture is first padded with black on all sides.
Image center_crop(const Image& image, int height, int width);
// Where it begins, of `have` pixels in a row; below 0: so many are padded before them.
int center_offset(int have, int want);
inline Image center_crop(const Image& image, int size) { return center_crop(image, size, size); }

Image hflip(const Image& image);

// Output pixel (x, y) looks at input (a x + b y + c, d x + e y + f); what comes in from outside is
// `fill` in every channel. kNearest or kBilinear.
struct Affine {
  double a, b, c, d, e, f;
};
Image affine(const Image& image, const Affine& map, Interpolation interpolation, uint8_t fill = 0);

// Anticlockwise by `angle` degrees about the centre, same size; what comes in from outside is
// `fill` in every channel. kNearest or kBilinear.
Image rotate(const Image& image, double angle, Interpolation interpolation, uint8_t fill = 0);

// Blends towards black, the mean grey, and the grey picture; factor 1 changes nothing. factor >= 0.
Image adjust_brightness(const Image& image, double factor);
Image adjust_contrast(const Image& image, double factor);
Image adjust_saturation(const Image& image, double factor);

// Turns the hue by `factor` of the circle, -0.5..0.5, through Pillow's 8-bit HSV.
Image adjust_hue(const Image& image, double factor);

// Towards the picture smoothed by the 3 x 3 kernel 1, 1, 1; 1, 5, 1; 1, 1, 1 (its outermost pixels
// stay as they are), away from it for factors above 1. factor >= 0.
Image adjust_sharpness(const Image& image, double factor);

// Level by level: the highest `bits` of each value, 0..8; values from `threshold` on, 0..256,
// inverted; all inverted.
Image posterize(const Image& image, int bits);
Image solarize(const Image& image, int threshold);
Image invert(const Image& image);
// `amount` more for each value below 128, at most 255 (timm's SolarizeAdd).
Image solarize_add(const Image& image, int amount);
// Channel by channel: the values stretched to 0..255; and so that each level is as frequent as
// Pillow's equalize makes it.
Image autocontrast(const Image& image);
Image equalize(const Image& image);

// ITU-R 601 luma, in 1 channel or repeated in 3.
Image grayscale(const Image& image, int channels = 3);

// Where a picture lies in its tensor: mirrored, then moved down and right.
struct Placement {
  bool mirrored = false;
  int dy = 0;
  int dx = 0;
};

// (H, W, C) u8 -> (C, H, W) f32: (x / 255 - mean) / std. mean and std hold one value a channel.
class Normalizer {
 public:
  // fill, one a channel: what moves in, in place of zeros.
  Normalizer(std::span<const float> mean, std::span<const float> std,
             std::span<const float> fill = {});
  // Error: a picture with another number of channels. `out` holds as many values as the picture.
  void operator()(const Image& image, float* out, const Placement& placement = {}) const;
  // (C, 257): the number for each level, and for what moves in.
  std::vector<float> table() const;

 private:
  std::vector<std::array<float, 256>> levels_;  // (C, 256): two divisions a pixel become a look-up
  std::vector<float> fill_;                     // (C)
};

std::vector<float> to_tensor_normalize(const Image& image, std::span<const float> mean,
                                       std::span<const float> std);

}  // namespace tessera
