// Kernel weights per output position, then a horizontal and a vertical pass.
// Rule: integer arithmetic in the passes, so the loops may be vectorised in any order without
// changing a bit; doubles only while the weights are computed, in Pillow's order of operations.
#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "engine/error.h"

namespace tessera {
namespace {

// 32 bits less the 8 of a pixel and 2 of headroom (bicubic and Lanczos weights leave [0, 1]).
constexpr int kPrecisionBits = 32 - 8 - 2;
constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

struct Kernel {
  double (*weight)(double);
  double support;
};

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {  // Keys, a = -0.5
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

Kernel kernel_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kBox:
      return {box, 0.5};
    case Interpolation::kBilinear:
      return {bilinear, 1.0};
    case Interpolation::kLanczos:
      return {lanczos, 3.0};
    default:
      return {bicubic, 2.0};
  }
}

// For each output position: the first input position, how many, and their weights.
struct Weights {
  int taps = 0;  // room per output position
  std::vector<int> first, count;
  std::vector<int32_t> values;  // (output, taps), kPrecisionBits fractional bits
};

Weights weights_of(int in_size, int out_size, const Kernel& kernel) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double widening = std::max(scale, 1.0);
  const double support = kernel.support * widening;
  Weights w;
  w.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  w.first.resize(out_size);
  w.count.resize(out_size);
  w.values.resize(static_cast<size_t>(out_size) * w.taps);
  std::vector<double> exact(w.taps);
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), in_size) - first;
    const double inverse = 1.0 / widening;
    double sum = 0.0;
    for (int t = 0; t < count; ++t) {
      exact[t] = kernel.weight((t + first - center + 0.5) * inverse);
      sum += exact[t];
    }
    for (int t = 0; t < count; ++t) {
      const double v = (sum != 0.0 ? exact[t] / sum : exact[t]) * (1 << kPrecisionBits);
      w.values[static_cast<size_t>(i) * w.taps + t] =
          static_cast<int32_t>(v < 0 ? v - 0.5 : v + 0.5);
    }
    w.first[i] = first;
    w.count[i] = count;
  }
  return w;
}

uint8_t to_pixel(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

// A pixel as four 32-bit lanes, three of them used: one multiply-add serves all channels.
typedef int32_t Lanes __attribute__((vector_size(16)));

// (rows, in width) -> (rows, out width), from rows `region.top` on.
Image horizontal_pass(const Image& image, const Region& region, int out_width,
                      const Kernel& kernel) {
  const Weights w = weights_of(region.width, out_width, kernel);
  const int channels = image.channels;
  Image out(out_width, region.height, channels);
  std::vector<Lanes> wide(region.width);
  for (int y = 0; y < region.height; ++y) {
    const uint8_t* in = image.row(region.top + y) + static_cast<size_t>(region.left) * channels;
    if (channels == 3) {
      for (int x = 0; x < region.width; ++x)
        wide[x] = Lanes{in[3 * x], in[3 * x + 1], in[3 * x + 2]};
    } else {
      for (int x = 0; x < region.width; ++x) wide[x] = Lanes{in[x]};
    }
    uint8_t* to = out.row(y);
    for (int x = 0; x < out_width; ++x) {
      const int32_t* weight = &w.values[static_cast<size_t>(x) * w.taps];
      const Lanes* from = &wide[w.first[x]];
      Lanes sum = {kHalf, kHalf, kHalf, kHalf};
      for (int t = 0; t < w.count[x]; ++t) sum += from[t] * weight[t];
      for (int c = 0; c < channels; ++c) *to++ = to_pixel(sum[c]);
    }
  }
  return out;
}

// (in height, width) -> (out height, width): whole rows at a time.
Image vertical_pass(const Image& image, int out_height, const Kernel& kernel) {
  const Weights w = weights_of(image.height, out_height, kernel);
  const size_t n = image.row_bytes();
  Image out(image.width, out_height, image.channels);
  std::vector<int32_t> sum(n);
  for (int y = 0; y < out_height; ++y) {
    std::fill(sum.begin(), sum.end(), kHalf);
    for (int t = 0; t < w.count[y]; ++t) {
      const int32_t weight = w.values[static_cast<size_t>(y) * w.taps + t];
      const uint8_t* in = image.row(w.first[y] + t);
      for (size_t i = 0; i < n; ++i) sum[i] += in[i] * weight;
    }
    uint8_t* to = out.row(y);
    for (size_t i = 0; i < n; ++i) to[i] = to_pixel(sum[i]);
  }
  return out;
}

Image copy_region(const Image& image, const Region& region) {
  Image out(region.width, region.height, image.channels);
  const size_t skip = static_cast<size_t>(region.left) * image.channels;
  for (int y = 0; y < region.height; ++y) {
    std::memcpy(out.row(y), image.row(region.top + y) + skip, out.row_bytes());
  }
  return out;
}

// The pixel whose area holds each output's centre; positions are summed up step by step in double,
// as Pillow's affine copy does it.
Image nearest(const Image& image, const Region& region, int height, int width) {
  auto positions = [](int in_size, int out_size) {
    const double step = static_cast<double>(in_size) / out_size;
    std::vector<int> at(out_size);
    double position = step * 0.5;
    for (int& p : at) {
      p = std::min(static_cast<int>(position), in_size - 1);
      position += step;
    }
    return at;
  };
  const std::vector<int> xs = positions(region.width, width), ys = positions(region.height, height);
  Image out(width, height, image.channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        out.at(y, x, c) = image.at(region.top + ys[y], region.left + xs[x], c);
      }
    }
  }
  return out;
}

}  // namespace

Interpolation interpolation_from_name(std::string_view name) {
  if (name == "nearest") return Interpolation::kNearest;
  if (name == "box") return Interpolation::kBox;
  if (name == "bilinear") return Interpolation::kBilinear;
  if (name == "bicubic") return Interpolation::kBicubic;
  if (name == "lanczos") return Interpolation::kLanczos;
  throw UsageError(fmt::format(
      "[resize] no interpolation '{}': nearest, box, bilinear, bicubic or lanczos", name));
}

Image resize_region(const Image& image, const Region& region, int height, int width,
                    Interpolation interpolation) {
  TESSERA_CHECK(region.top >= 0 && region.left >= 0 && region.height > 0 && region.width > 0 &&
                    region.height <= image.height - region.top &&
                    region.width <= image.width - region.left,
                "[resize] region top {}, left {}, {} x {} is not inside a picture of {} x {}",
                region.top, region.left, region.width, region.height, image.width, image.height);
  TESSERA_CHECK(height > 0 && width > 0, "[resize] target {} x {} has no pixels", width, height);
  if (region.height == height && region.width == width) return copy_region(image, region);
  if (interpolation == Interpolation::kNearest) return nearest(image, region, height, width);
  const Kernel kernel = kernel_of(interpolation);
  if (region.width == width) return vertical_pass(copy_region(image, region), height, kernel);
  Image rows = horizontal_pass(image, region, width, kernel);
  return region.height == height ? rows : vertical_pass(rows, height, kernel);
}

}  // namespace tessera
