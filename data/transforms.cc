// Geometry: sizes, crops, flips, rotation, and the step to floats.
// Rule: rounding follows torchvision and Pillow step by step; the goldens hold it to that.
#include "data/transforms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>

#include "engine/error.h"

namespace tessera {
namespace {

// Python's round(n / 2): halves go to the even neighbour.
int half_rounded_to_even(int n) { return n % 2 == 0 ? n / 2 : (n + 1) / 2 / 2 * 2; }

// cos and sin cut to 15 decimals, so that right angles are exact.
double rounded15(double x) { return std::stod(fmt::format("{:.15f}", x)); }

Image affine_nearest(const Image& image, const Affine& m, uint8_t fill) {
  auto fixed = [](double v) { return static_cast<int64_t>(std::floor(v * 65536.0 + 0.5)); };
  const int64_t a = fixed(m.a), b = fixed(m.b), d = fixed(m.d), e = fixed(m.e);
  const int64_t c = fixed(m.c + m.a * 0.5 + m.b * 0.5), f = fixed(m.f + m.d * 0.5 + m.e * 0.5);
  Image out(image.width, image.height, image.channels);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const int64_t u = (c + a * x + b * y) >> 16, v = (f + d * x + e * y) >> 16;
      const bool inside = u >= 0 && u < image.width && v >= 0 && v < image.height;
      for (int k = 0; k < image.channels; ++k) {
        out.at(y, x, k) = inside ? image.at(static_cast<int>(v), static_cast<int>(u), k) : fill;
      }
    }
  }
  return out;
}

Image affine_bilinear(const Image& image, const Affine& m, uint8_t fill) {
  Image out(image.width, image.height, image.channels);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      double u = m.a * (x + 0.5) + m.b * (y + 0.5) + m.c;
      double v = m.d * (x + 0.5) + m.e * (y + 0.5) + m.f;
      const bool inside = u >= 0.0 && u < image.width && v >= 0.0 && v < image.height;
      u -= 0.5;
      v -= 0.5;
      const int left = static_cast<int>(std::floor(u)), top = static_cast<int>(std::floor(v));
      const double du = u - left, dv = v - top;
      const int x0 = std::clamp(left, 0, image.width - 1);
      const int x1 = std::clamp(left + 1, 0, image.width - 1);
      const int y0 = std::clamp(top, 0, image.height - 1);
      const int y1 = std::clamp(top + 1, 0, image.height - 1);
      for (int k = 0; k < image.channels; ++k) {
        if (!inside) {
          out.at(y, x, k) = fill;
          continue;
        }
        auto along = [&](int row) {
          const double p = image.at(row, x0, k), q = image.at(row, x1, k);
          return p + (q - p) * du;
        };
        const double upper = along(y0), lower = along(y1);
        out.at(y, x, k) = static_cast<uint8_t>(upper + (lower - upper) * dv);
      }
    }
  }
  return out;
}

}  // namespace

Image resize(const Image& image, int height, int width, Interpolation interpolation) {
  return resize_region(image, {0, 0, image.height, image.width}, height, width, interpolation);
}

Image resize_shorter_side(const Image& image, int size, Interpolation interpolation) {
  const int shorter = std::min(image.width, image.height);
  TESSERA_CHECK(shorter > 0, "[resize_shorter_side] a picture of {} x {} has no pixels",
                image.width, image.height);
  const int longer =
      static_cast<int>(static_cast<int64_t>(size) * std::max(image.width, image.height) / shorter);
  const bool upright = image.height >= image.width;
  return resize(image, upright ? longer : size, upright ? size : longer, interpolation);
}

Image resized_crop(const Image& image, int top, int left, int height, int width,
                   std::array<int, 2> size, Interpolation interpolation) {
  return resize_region(image, {top, left, height, width}, size[0], size[1], interpolation);
}

// Padding has the lesser half before the picture, the greater after it.
int center_offset(int have, int want) {
  return want > have ? -((want - have) / 2) : half_rounded_to_even(have - want);
}

Image center_crop(const Image& image, int height, int width) {
  TESSERA_CHECK(height > 0 && width > 0, "[center_crop] target {} x {} has no pixels", width,
                height);
  const int top = center_offset(image.height, height), left = center_offset(image.width, width);
  Image out(width, height, image.channels);
  const int x0 = std::max(-left, 0), x1 = std::min(width, image.width - left);
  for (int y = std::max(-top, 0); y < std::min(height, image.height - top); ++y) {
    std::memcpy(&out.at(y, x0, 0),
                image.row(y + top) + static_cast<size_t>(x0 + left) * image.channels,
                static_cast<size_t>(x1 - x0) * image.channels);
  }
  return out;
}

Image hflip(const Image& image) {
  Image out(image.width, image.height, image.channels);
  for (int y = 0; y < image.height; ++y) {
    uint8_t* to = out.row(y);
    for (const uint8_t* from = image.row(y) + image.row_bytes(); from != image.row(y);) {
      from -= image.channels;
      for (int c = 0; c < image.channels; ++c) *to++ = from[c];
    }
  }
  return out;
}

Image affine(const Image& image, const Affine& map, Interpolation interpolation, uint8_t fill) {
  TESSERA_CHECK(
      interpolation == Interpolation::kNearest || interpolation == Interpolation::kBilinear,
      "[affine] only nearest and bilinear are known");
  return interpolation == Interpolation::kNearest ? affine_nearest(image, map, fill)
                                                  : affine_bilinear(image, map, fill);
}

Image rotate(const Image& image, double angle, Interpolation interpolation, uint8_t fill) {
  double turn = std::fmod(angle, 360.0);
  if (turn < 0) turn += 360.0;
  const double radians = -(turn * (std::numbers::pi / 180.0));
  const double cosine = rounded15(std::cos(radians)), sine = rounded15(std::sin(radians));
  const double cx = image.width / 2.0, cy = image.height / 2.0;
  const Affine m = {cosine, sine,   cosine * -cx + sine * -cy + cx,
                    -sine,  cosine, -sine * -cx + cosine * -cy + cy};
  return affine(image, m, interpolation, fill);
}

Normalizer::Normalizer(std::span<const float> mean, std::span<const float> std,
                       std::span<const float> fill)
    : levels_(mean.size()), fill_(fill.begin(), fill.end()) {
  fill_.resize(levels_.size(), 0.0f);
  TESSERA_CHECK_USAGE(mean.size() == std.size(), "[normalize] {} means and {} deviations",
                      mean.size(), std.size());
  for (size_t c = 0; c < levels_.size(); ++c) {
    for (int level = 0; level < 256; ++level) {
      levels_[c][level] = (static_cast<float>(level) / 255.0f - mean[c]) / std[c];
    }
  }
}

void Normalizer::operator()(const Image& image, float* out, const Placement& placement) const {
  const int height = image.height, width = image.width, channels = image.channels;
  TESSERA_CHECK(levels_.size() == static_cast<size_t>(channels),
                "[normalize] means and deviations of {} channels for a picture of {}",
                levels_.size(), channels);
  const auto [mirrored, dy, dx] = placement;
  const int first = std::clamp(dx, 0, width), last = std::clamp(width + dx, 0, width);
  const int start = channels * (mirrored ? width - 1 - (first - dx) : first - dx);
  const int step = mirrored ? -channels : channels;
  for (int y = 0; y < height; ++y) {
    for (int c = 0; c < channels; ++c) {
      float* to = out + (static_cast<int64_t>(c) * height + y) * width;
      if (y - dy < 0 || y - dy >= height) {
        std::fill(to, to + width, fill_[c]);
        continue;
      }
      const std::array<float, 256>& level = levels_[c];
      const uint8_t* from = image.row(y - dy) + c;
      std::fill(to, to + first, fill_[c]);
#pragma GCC unroll 8  // a tenth faster: the loop is little but its own counting
      for (int x = first, at = start; x < last; ++x, at += step) to[x] = level[from[at]];
      std::fill(to + last, to + width, fill_[c]);
    }
  }
}

std::vector<float> Normalizer::table() const {
  std::vector<float> all;
  for (size_t c = 0; c < levels_.size(); ++c) {
    all.insert(all.end(), levels_[c].begin(), levels_[c].end());
    all.push_back(fill_[c]);
  }
  return all;
}

std::vector<float> to_tensor_normalize(const Image& image, std::span<const float> mean,
                                       std::span<const float> std) {
  std::vector<float> out(image.pixels.size());  // (C, H, W)
  Normalizer(mean, std)(image, out.data());
  return out;
}

}  // namespace tessera
