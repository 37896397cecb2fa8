// RandAugment (Cubuk et al., 2019, arXiv 1909.13719) as timm's "rand-m9-mstd0.5-inc1", with which
// MAE and BEiT are fine-tuned: a few operations drawn from fifteen, all as strong as one number
// says.
// Rule: a pure function of the random stream that it is handed; each operation takes the same
// number of draws whether it is applied or not. Resampling is bilinear (timm: bicubic or bilinear).
#pragma once

#include <string>
#include <vector>

#include "data/image.h"
#include "engine/philox.h"

namespace tessera {

struct RandAugment {
  int operations = 2;        // a picture, drawn with replacement
  double probability = 0.5;  // that a drawn one is applied
  double magnitude = 9;      // 0 to 10
  double deviation = 0.5;    // of the magnitude, drawn anew each time and cut to 0..10
  uint8_t fill = 128;        // what comes in from outside when a picture is turned or moved

  void check() const;  // UsageError, one line, for what makes no sense
};

// "auto_contrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize_add",
// "color", "contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x",
// "translate_y".
const std::vector<std::string>& rand_augment_operations();

// One of them by its place in that list. strength 0 to 1: rotation up to 30 degrees, shear up to
// 0.3, translation up to 0.45 of the side, colours by a factor 1 +- 0.9, posterize down to no bit,
// solarize from no value to all, solarize_add up to 110. `negative` turns the direction of those
// that have one.
Image apply_operation(size_t operation, const Image& image, double strength, bool negative,
                      uint8_t fill = 128);

Image rand_augment(const Image& image, const RandAugment& options, PhiloxStream& random);

}  // namespace tessera
