// Shares and boxes, then pairs of pictures at once, so that nothing is copied.
#include "data/mixing.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace tessera {
namespace {

bool is_share(double x) { return x >= 0 && x <= 1; }

bool is_empty(const Region& box) { return box.height == 0 || box.width == 0; }

// A box of a share 1 - `share` of the area with the picture's shape, anywhere; the picture's edge
// cuts it.
Region draw_box(double share, int height, int width, PhiloxStream& random) {
  const double side = std::sqrt(1 - share);
  const int tall = static_cast<int>(height * side), wide = static_cast<int>(width * side);
  const int y = static_cast<int>(random.below(height)), x = static_cast<int>(random.below(width));
  const int top = std::max(y - tall / 2, 0), bottom = std::min(y + tall / 2, height);
  const int left = std::max(x - wide / 2, 0), right = std::min(x + wide / 2, width);
  return {top, left, bottom - top, right - left};
}

// The logarithm of a number from Gamma(alpha, 1) (Marsaglia and Tsang, 2000), at most one try in
// twenty in vain. Below 1 a number of alpha + 1 is taken times a uniform one to the power 1 /
// alpha, which may be too small for double: hence the logarithm.
double draw_log_gamma(double alpha, PhiloxStream& random) {
  const auto log_uniform = [&random] { return std::log(1 - random.uniform()); };
  if (alpha < 1) return draw_log_gamma(alpha + 1, random) + log_uniform() / alpha;
  const double d = alpha - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), v = std::pow(1 + c * x, 3);
    if (v > 0 && log_uniform() < x * x / 2 + d * (1 - v + std::log(v))) return std::log(d * v);
  }
}

bool is_mixing_alpha(double alpha) {
  return alpha == 0 || (alpha >= kLeastAlpha && alpha <= kLargestAlpha);
}

}  // namespace

double draw_beta(double alpha, PhiloxStream& random) {
  TESSERA_CHECK(alpha > 0 && is_mixing_alpha(alpha), "[draw_beta] alpha {} is not in {}..{}", alpha,
                kLeastAlpha, kLargestAlpha);
  const double x = draw_log_gamma(alpha, random), y = draw_log_gamma(alpha, random);
  return 1 / (1 + std::exp(y - x));  // X / (X + Y)
}

void MixOptions::check() const {
  TESSERA_CHECK_USAGE(is_mixing_alpha(mixup_alpha) && is_mixing_alpha(cutmix_alpha),
                      "--mixup and --cutmix must be 0 or from {} to {}, got {} and {}", kLeastAlpha,
                      kLargestAlpha, mixup_alpha, cutmix_alpha);
  TESSERA_CHECK_USAGE(is_share(probability) && is_share(cutmix_probability),
                      "probabilities {} of mixing and {} of CutMix must be in [0, 1]", probability,
                      cutmix_probability);
  TESSERA_CHECK_USAGE(label_smoothing >= 0 && label_smoothing < 1,
                      "--label-smoothing must be in [0, 1), got {}", label_smoothing);
}

void RandomErasing::check() const {
  TESSERA_CHECK_USAGE(is_share(probability), "--random-erasing must be in [0, 1], got {}",
                      probability);
  TESSERA_CHECK_USAGE(area[0] > 0 && area[0] <= area[1] && area[1] <= 1,
                      "erased areas {} to {} are no range within (0, 1]", area[0], area[1]);
  TESSERA_CHECK_USAGE(min_aspect > 0 && min_aspect <= 1, "least aspect {} must be in (0, 1]",
                      min_aspect);
}

Mix draw_mix(const MixOptions& o, int height, int width, PhiloxStream& random) {
  o.check();
  const bool mixed = random.coin(o.probability), prefers_cut = random.coin(o.cutmix_probability);
  if (!mixed || (o.mixup_alpha == 0 && o.cutmix_alpha == 0)) return {};
  const bool cut = o.cutmix_alpha > 0 && (o.mixup_alpha == 0 || prefers_cut);
  Mix mix;
  mix.share = draw_beta(cut ? o.cutmix_alpha : o.mixup_alpha, random);
  if (cut) {
    mix.box = draw_box(mix.share, height, width, random);
    mix.share = is_empty(mix.box)
                    ? 1
                    : 1 - double(mix.box.height) * mix.box.width / (double(height) * width);
  }
  return mix;
}

void mix_images(const Mix& mix, const Shape& shape, float* images) {
  TESSERA_CHECK(shape.size() == 4, "[mix_images] needs (B, C, H, W), not {}", shape);
  if (mix.share == 1) return;
  const int64_t batch = shape[0], channels = shape[1], height = shape[2], width = shape[3],
                numbers = channels * height * width;
  const float share = static_cast<float>(mix.share);
  for (int64_t b = 0; b < batch / 2; ++b) {
    float *one = images + b * numbers, *other = images + (batch - 1 - b) * numbers;
    if (is_empty(mix.box)) {
      for (int64_t i = 0; i < numbers; ++i) {
        const float a = one[i], c = other[i];
        one[i] = share * a + (1 - share) * c;
        other[i] = share * c + (1 - share) * a;
      }
      continue;
    }
    for (int64_t row = 0; row < channels * mix.box.height; ++row) {
      const int64_t y = mix.box.top + row % mix.box.height, c = row / mix.box.height;
      const int64_t at = (c * height + y) * width + mix.box.left;
      std::swap_ranges(one + at, one + at + mix.box.width, other + at);
    }
  }
}

Tensor mixed_targets(const Mix& mix, const std::vector<int64_t>& labels, int64_t classes,
                     double label_smoothing) {
  for (const int64_t label : labels) {
    TESSERA_CHECK(label >= 0 && label < classes, "[mixed_targets] label {} of {} classes", label,
                  classes);
  }
  const size_t batch = labels.size();
  std::vector<float> targets(batch * static_cast<size_t>(classes),
                             static_cast<float>(label_smoothing / double(classes)));
  for (size_t b = 0; b < batch; ++b) {
    float* row = targets.data() + b * static_cast<size_t>(classes);
    row[labels[b]] += static_cast<float>((1 - label_smoothing) * mix.share);
    row[labels[batch - 1 - b]] += static_cast<float>((1 - label_smoothing) * (1 - mix.share));
  }
  return Tensor::from(targets, {static_cast<int64_t>(batch), classes});
}

Region draw_erasure(const RandomErasing& o, int height, int width, PhiloxStream& random) {
  if (!random.coin(o.probability)) return {};
  const double widest = -std::log(o.min_aspect);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(o.area[0], o.area[1]) * height * width;
    const double aspect = std::exp(random.uniform(-widest, widest));
    const int h = static_cast<int>(std::nearbyint(std::sqrt(area * aspect)));
    const int w = static_cast<int>(std::nearbyint(std::sqrt(area / aspect)));
    if (h >= height || w >= width) continue;
    const int top = static_cast<int>(random.below(height - h + 1));
    const int left = static_cast<int>(random.below(width - w + 1));
    return {top, left, h, w};
  }
  return {};
}

void erase(const Region& box, int channels, int height, int width, float* planes,
           PhiloxStream& random) {
  for (int c = 0; c < channels; ++c) {
    for (int y = box.top; y < box.top + box.height; ++y) {
      float* row = planes + (static_cast<size_t>(c) * height + y) * width + box.left;
      for (int x = 0; x < box.width; ++x) row[x] = static_cast<float>(random.normal());
    }
  }
}

}  // namespace tessera
