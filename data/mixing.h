// What fine-tuning does to pictures that are tensors already: mixup and CutMix of a batch, random
// erasing of a picture; as timm's Mixup (batch mode) and RandomErasing (pixel mode).
// Rule: pure functions of the random stream that they are handed. A mixed picture's target is the
// mean of its parts' targets, weighed by what each part really gives: mass 1 for every picture.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/resize.h"
#include "engine/philox.h"
#include "engine/tensor.h"

namespace tessera {

// Shares from Beta(alpha, alpha) with any other alpha are 0, 1 or a half for all one can see.
inline constexpr double kLeastAlpha = 1e-3, kLargestAlpha = 1e3;

struct MixOptions {
  double mixup_alpha = 0.8;         // shares come from Beta(alpha, alpha); 0: no mixup
  double cutmix_alpha = 1.0;        // the same for CutMix
  double probability = 1.0;         // that a batch is mixed at all
  double cutmix_probability = 0.5;  // that it is CutMix where both are possible
  double label_smoothing = 0.1;

  // Whether a batch can be mixed: with both alphas 0, targets alone are made.
  bool mixes() const { return probability > 0 && (mixup_alpha > 0 || cutmix_alpha > 0); }
  void check() const;  // UsageError, one line, for what makes no sense; names the flag
};

// How one batch is mixed: each picture keeps `share` of itself and takes the rest from its partner,
// as a weighted mean or, where the box is not empty, as that box of the partner.
struct Mix {
  double share = 1;
  Region box;
};
Mix draw_mix(const MixOptions& options, int height, int width, PhiloxStream& random);

// Mixes images of shape (B, C, H, W), contiguous, in place; picture b's partner is B - 1 - b.
void mix_images(const Mix& mix, const Shape& shape, float* images);

// Targets (B, classes) f32 of a batch mixed so: each label's mass is 1 - smoothing, the smoothing
// is spread over all classes. label_smoothing is one that MixOptions::check() lets pass. Error for
// a label that is no class.
Tensor mixed_targets(const Mix& mix, const std::vector<int64_t>& labels, int64_t classes,
                     double label_smoothing);

// A number from Beta(alpha, alpha), alpha in [kLeastAlpha, kLargestAlpha].
double draw_beta(double alpha, PhiloxStream& random);

// Random erasing (Zhong et al., 2017): a rectangle of normal noise over a normalised picture.
struct RandomErasing {
  double probability = 0.25;
  std::array<double, 2> area = {0.02, 1.0 / 3.0};  // share of the picture
  double min_aspect = 0.3;                         // log-uniform in [min_aspect, 1 / min_aspect]

  void check() const;  // UsageError, one line, for what makes no sense
};
// Ten tries at a rectangle that fits; an empty one when none does or the picture is spared.
Region draw_erasure(const RandomErasing& options, int height, int width, PhiloxStream& random);
// planes (channels, height, width).
void erase(const Region& box, int channels, int height, int width, float* planes,
           PhiloxStream& random);

}  // namespace tessera
