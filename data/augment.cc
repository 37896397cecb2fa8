// Draws in a fixed order: what is drawn never depends on what was not needed.
// Rule: no transform but ColorJitter's is applied here.
#include "data/augment.h"

#include <algorithm>
#include <cmath>

#include "data/transforms.h"

namespace tessera {

PhiloxStream stream_at(uint64_t seed, int64_t epoch, RandomSite site, int64_t position) {
  return stream_at({seed, static_cast<uint32_t>(epoch), site}, static_cast<uint64_t>(position));
}

Region draw_crop(int height, int width, std::array<double, 2> scale, PhiloxStream& random,
                 std::array<double, 2> ratio) {
  const double area = static_cast<double>(height) * width;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.uniform(scale[0], scale[1]);
    const double aspect = std::exp(random.uniform(std::log(ratio[0]), std::log(ratio[1])));
    const int w = static_cast<int>(std::nearbyint(std::sqrt(target * aspect)));
    const int h = static_cast<int>(std::nearbyint(std::sqrt(target / aspect)));
    if (w <= 0 || w > width || h <= 0 || h > height) continue;
    const int top = static_cast<int>(random.below(height - h + 1));
    const int left = static_cast<int>(random.below(width - w + 1));
    return {top, left, h, w};
  }
  const double have = static_cast<double>(width) / height;
  int w = width, h = height;
  if (have < ratio[0]) h = static_cast<int>(std::nearbyint(width / ratio[0]));
  if (have > ratio[1]) w = static_cast<int>(std::nearbyint(height * ratio[1]));
  h = std::clamp(h, 1, height);  // a picture one pixel wide has a box of one pixel
  w = std::clamp(w, 1, width);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

Shift draw_shift(int most, PhiloxStream& random) {
  const int dy = static_cast<int>(random.below(2 * most + 1)) - most;
  const int dx = static_cast<int>(random.below(2 * most + 1)) - most;
  return {dy, dx};
}

Image color_jitter(const Image& image, const ColorJitter& jitter, PhiloxStream& random) {
  std::array<int, 4> order = {0, 1, 2, 3};
  for (int i = 3; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  auto factor = [&](double by) { return random.uniform(std::max(0.0, 1.0 - by), 1.0 + by); };
  const double brightness = factor(jitter.brightness), contrast = factor(jitter.contrast);
  const double saturation = factor(jitter.saturation);
  const double hue = random.uniform(-jitter.hue, jitter.hue);
  Image out = image;
  for (const int what : order) {
    if (what == 0 && jitter.brightness > 0) out = adjust_brightness(out, brightness);
    if (what == 1 && jitter.contrast > 0) out = adjust_contrast(out, contrast);
    if (what == 2 && jitter.saturation > 0) out = adjust_saturation(out, saturation);
    if (what == 3 && jitter.hue > 0) out = adjust_hue(out, hue);
  }
  return out;
}

}  // namespace tessera
