// From a decoded picture to its place in a batch: jittered in its colours, cut or moved, mirrored,
// RandAugment, normalised, partly erased; in this order, which is timm's behind BEiT's jitter.
// Rule: a pure function of picture, options and random stream. A step that is switched off draws
// nothing, so it changes nothing about the others.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "data/fit.h"
#include "data/image.h"
#include "data/mixing.h"
#include "data/rand_augment.h"
#include "data/transforms.h"
#include "engine/philox.h"

namespace tessera {

inline constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> kImageNetStd = {0.229f, 0.224f, 0.225f};
inline constexpr std::array<float, 3> kCifarMean = {0.4914f, 0.4822f, 0.4465f};
inline constexpr std::array<float, 3> kCifarStd = {0.247f, 0.2435f, 0.2616f};

enum class Augment {
  kNone,       // shorter side to size, middle cut out
  kFlip,       // as kNone, mirrored in half of the draws
  kCropFlip,   // random resized crop (bicubic), mirrored in half of the draws
  kShiftFlip,  // as kNone, mirrored in half, moved by up to 2 pixels; zeros (after normalising)
               // move in
};
Augment augment_from_name(std::string_view name);  // "none", "flip", "crop-flip", "shift-flip"
const char* name_of(Augment augment);

struct AugmentOptions {
  int height = 32;
  int width = 32;
  int channels = 3;  // 1 or 3
  // Brightness, contrast and saturation of the whole picture change by up to this share, 0..1, in
  // random order (ColorJitter in augment.h, without hue); every view shows the same colours.
  double color_jitter = 0;
  Augment augment = Augment::kNone;
  std::array<double, 2> crop_scale = {0.2, 1.0};  // area of a random crop, as a share
  std::optional<RandAugment> rand_augment;        // none: no operation
  std::optional<RandomErasing> erasing;           // none: nothing erased
  std::vector<float> mean = {kImageNetMean.begin(), kImageNetMean.end()};  // one a channel
  std::vector<float> std = {kImageNetStd.begin(), kImageNetStd.end()};
  // BEiT's second view: the same cut, mirrored and moved alike, in another size and with values in
  // [0, 1]; a random crop through Lanczos. What moves in has the mean's colour, as in the first
  // view. 0: there is none.
  int second_height = 0, second_width = 0;

  bool two_views() const { return second_height > 0; }
  // UsageError, one line, for what makes no sense. It names the flag, where there is one: trainings
  // ask it before they begin.
  void check() const;
};

// What is drawn before a pixel is looked at: the cut of each view and where it lies in its tensor.
// Both views are of one part of the picture.
struct Cut {
  Fit fit, second_fit;
  Placement placement, second_placement;
};

class Augmenter {
 public:
  // UsageError: options that make no sense.
  explicit Augmenter(const AugmentOptions& options);
  Cut cut(int picture_height, int picture_width, PhiloxStream& random) const;
  // The whole picture as the views will show it: in the channels that are wanted, its colours
  // jittered; none where that changes nothing. Drawn after the cut, which is then the same with and
  // without jitter.
  std::optional<Image> recolored(const Image& picture, PhiloxStream& random) const;
  // Draws and writes the picture's tensor; out: (C, H, W), second: (C, second H, second W) where
  // two views are wanted. Whether the picture is mirrored.
  bool operator()(const Image& picture, PhiloxStream& random, float* out,
                  float* second = nullptr) const;

  // What numbers the levels of the two views become.
  const Normalizer& normalizer() const { return normalize_; }
  const Normalizer& second_normalizer() const { return to_unit_; }

 private:
  AugmentOptions options_;
  Normalizer normalize_, to_unit_;
};

}  // namespace tessera
