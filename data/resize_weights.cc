// Kernels, widened with the reduction.
#include "data/resize_weights.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/picture_plan.h"

namespace tessera {
namespace {

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

AxisWeights same_size(int size) {
  AxisWeights w;
  w.taps = 1;
  for (int i = 0; i < size; ++i) w.first.push_back(i);
  w.weights.assign(static_cast<size_t>(size), 1 << kPictureBits);
  return w;
}

}  // namespace

AxisWeights axis_weights(int in_size, int out_size, Interpolation interpolation) {
  if (in_size == out_size) return same_size(in_size);
  const Kernel kernel = kernel_of(interpolation);
  const double scale = static_cast<double>(in_size) / out_size;
  const double widening = std::max(scale, 1.0);
  const double support = kernel.support * widening;
  const double inverse = 1.0 / widening;
  const auto first_of = [&](double center) {
    return std::max(static_cast<int>(center - support + 0.5), 0);
  };
  const auto count_of = [&](double center) {
    return std::min(static_cast<int>(center + support + 0.5), in_size) - first_of(center);
  };
  AxisWeights w;
  for (int i = 0; i < out_size; ++i) w.taps = std::max(w.taps, count_of((i + 0.5) * scale));
  w.weights.assign(static_cast<size_t>(out_size) * w.taps, 0);
  std::vector<double> exact(w.taps);
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = first_of(center), count = count_of(center);
    double sum = 0.0;
    for (int t = 0; t < count; ++t) {
      exact[t] = kernel.weight((t + first - center + 0.5) * inverse);
      sum += exact[t];
    }
    int32_t* to = &w.weights[static_cast<size_t>(i) * w.taps];
    for (int t = 0; t < count; ++t) {
      const double v = (sum != 0.0 ? exact[t] / sum : exact[t]) * (1 << kPictureBits);
      to[t] = static_cast<int32_t>(v < 0 ? v - 0.5 : v + 0.5);
    }
    w.first.push_back(first);
  }
  return w;
}

}  // namespace tessera
