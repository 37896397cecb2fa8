// Interpolation and average pooling: y = Wh x Ww^T with a small weight matrix for each direction.
// The gradient is that of the products. Whole factors of nearest neighbours are repeated instead.
// Max pooling picks with argmax. Nothing here asks the device; weights are copied to it.
#include <algorithm>
#include <cmath>

#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/raw.h"

namespace tessera {
namespace {

// Keys' cubic kernel.
double cubic(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}
double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

Tensor matrix(const std::vector<double>& values, int64_t out, int64_t in, const Tensor& like) {
  return raw::to(raw::to(Tensor::from(values, {out, in}), like.dtype()), like.device());
}

// Row o of the result holds the weights of the inputs that output o is made of (out, in).
// Conventions: torch.nn.functional.interpolate.
std::vector<double> interpolation_weights(int64_t in, int64_t out, InterpolateMode mode,
                                          bool align_corners, bool antialias) {
  std::vector<double> w(static_cast<size_t>(out * in), 0.0);
  const double ratio =
      align_corners ? (out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0)
                    : static_cast<double>(in) / static_cast<double>(out);
  const auto at = [&](int64_t o, int64_t i) -> double& {
    return w[static_cast<size_t>(o * in + std::clamp<int64_t>(i, 0, in - 1))];
  };
  for (int64_t o = 0; o < out; ++o) {
    if (mode == InterpolateMode::kNearest) {
      at(o, static_cast<int64_t>(std::floor(static_cast<double>(o) * ratio))) = 1;
      continue;
    }
    if (antialias) {  // the kernel is stretched over the inputs that the output covers
      const double stretch = std::max(ratio, 1.0);
      const double centre = ratio * (static_cast<double>(o) + 0.5);
      const double support = (mode == InterpolateMode::kBicubic ? 2.0 : 1.0) * stretch;
      const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
      const int64_t last = std::min(in, static_cast<int64_t>(centre + support + 0.5));
      double total = 0;
      for (int64_t i = first; i < last; ++i) {
        const double x = (static_cast<double>(i) - centre + 0.5) / stretch;
        at(o, i) = mode == InterpolateMode::kBicubic ? cubic(x, -0.5) : triangle(x);
        total += at(o, i);
      }
      for (int64_t i = first; i < last; ++i) at(o, i) /= total;
      continue;
    }
    double source = align_corners ? static_cast<double>(o) * ratio
                                  : (static_cast<double>(o) + 0.5) * ratio - 0.5;
    if (mode == InterpolateMode::kBilinear) source = std::max(source, 0.0);
    const int64_t base = static_cast<int64_t>(std::floor(source));
    const double t = source - static_cast<double>(base);
    if (mode == InterpolateMode::kBilinear) {
      at(o, base) += 1 - t;
      at(o, base + 1) += t;
    } else {
      for (int64_t k = -1; k <= 2; ++k) at(o, base + k) += cubic(t - static_cast<double>(k), -0.75);
    }
  }
  return w;
}

// torch's adaptive pooling: output o averages [floor(o in / out), ceil((o + 1) in / out)).
std::vector<double> adaptive_weights(int64_t in, int64_t out) {
  std::vector<double> w(static_cast<size_t>(out * in), 0.0);
  for (int64_t o = 0; o < out; ++o) {
    const int64_t first = o * in / out, last = ((o + 1) * in + out - 1) / out;
    for (int64_t i = first; i < last; ++i) {
      w[static_cast<size_t>(o * in + i)] = 1.0 / static_cast<double>(last - first);
    }
  }
  return w;
}

std::vector<double> window_weights(int64_t in, int64_t out, int64_t kernel, int64_t stride,
                                   int64_t padding) {
  std::vector<double> w(static_cast<size_t>(out * in), 0.0);
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = std::max<int64_t>(0, o * stride - padding);
         i < std::min(in, o * stride - padding + kernel); ++i) {
      w[static_cast<size_t>(o * in + i)] = 1.0 / static_cast<double>(kernel);
    }
  }
  return w;
}

Tensor resample(const Tensor& x, const std::vector<double>& rows, int64_t height,
                const std::vector<double>& columns, int64_t width) {
  const Tensor wh = matrix(rows, height, x.size(2), x);
  const Tensor ww = matrix(columns, width, x.size(3), x);
  return matmul(wh, matmul(x, transpose(ww, 0, 1)));
}

// Each pixel as often as the factors say.
Tensor repeated(const Tensor& x, int64_t down, int64_t across) {
  const int64_t n = x.size(0), c = x.size(1), h = x.size(2), w = x.size(3);
  return reshape(expand(reshape(x, {n, c, h, 1, w, 1}), {n, c, h, down, w, across}),
                 {n, c, h * down, w * across});
}

struct MaxPoolOp {
  static constexpr const char* kName = "max_pool2d";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t kernel = 1, stride = 1;
  Saved winner;  // (N, C, oh ow, 1): k row + column
  Shape before;

  Tensor forward(Wants wants, const Tensor& x) {
    const Tensor windows = raw::windows2d(x, kernel, kernel, stride, 1);  // (N, C, k, k, oh, ow)
    const int64_t n = x.size(0), c = x.size(1), oh = windows.size(4), ow = windows.size(5);
    const Tensor flat =
        raw::reshape(raw::permute(windows, {0, 1, 4, 5, 2, 3}), {n, c, oh * ow, kernel * kernel});
    const Tensor best = raw::argmax(flat, -1, true);
    before = x.shape();
    if (wants.any()) winner = Saved(best);
    return raw::reshape(raw::gather(flat, 3, best), {n, c, oh, ow});
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    const int64_t n = before[0], c = before[1], oh = dy.size(2), ow = dy.size(3);
    const Tensor none = Tensor::zeros({n, c, oh * ow, kernel * kernel}, dy.dtype(), dy.device());
    const Tensor flat =
        raw::scatter_add(none, 3, winner.get(kName), raw::reshape(dy, {n, c, oh * ow, 1}));
    const Tensor from =
        raw::permute(raw::reshape(flat, {n, c, oh, ow, kernel, kernel}), {0, 1, 4, 5, 2, 3});
    const Tensor dx = Tensor::zeros(before, dy.dtype(), dy.device());
    const Tensor to = raw::windows2d(dx, kernel, kernel, stride, 1);
    // Windows may overlap, but not in one place of theirs.
    const auto at = [](const Tensor& windows, int64_t row, int64_t column) {
      return raw::select(raw::select(windows, 2, row), 2, column);
    };
    for (int64_t row = 0; row < kernel; ++row) {
      for (int64_t column = 0; column < kernel; ++column) {
        raw::add_(at(to, row, column), at(from, row, column));
      }
    }
    return {dx};
  }
};

void check_picture(const char* op, const Tensor& x) {
  TESSERA_CHECK(
      x.defined() && x.ndim() == 4 && is_floating(x.dtype()) && x.size(2) > 0 && x.size(3) > 0,
      "[{}] needs x (N, C, H, W) floating and not empty: x {}", op, describe(x));
}
void check_size(const char* op, int64_t height, int64_t width) {
  TESSERA_CHECK(height > 0 && width > 0, "[{}] cannot make pictures of {} x {}", op, height, width);
}
void check_window(const char* op, const Tensor& x, int64_t kernel, int64_t stride,
                  int64_t padding) {
  check_picture(op, x);
  TESSERA_CHECK(kernel > 0 && stride > 0 && padding >= 0 && 2 * padding <= kernel &&
                    std::min(x.size(2), x.size(3)) + 2 * padding >= kernel,
                "[{}] kernel {}, stride {}, padding {} do not fit x {}", op, kernel, stride,
                padding, describe(x));
}

}  // namespace

Tensor interpolate(const Tensor& x, int64_t height, int64_t width, InterpolateMode mode,
                   bool align_corners, bool antialias) {
  check_picture("interpolate", x);
  check_size("interpolate", height, width);
  if (mode == InterpolateMode::kNearest && !align_corners && height % x.size(2) == 0 &&
      width % x.size(3) == 0) {
    return repeated(x, height / x.size(2), width / x.size(3));
  }
  return resample(x, interpolation_weights(x.size(2), height, mode, align_corners, antialias),
                  height, interpolation_weights(x.size(3), width, mode, align_corners, antialias),
                  width);
}

Tensor adaptive_avg_pool2d(const Tensor& x, int64_t height, int64_t width) {
  check_picture("adaptive_avg_pool2d", x);
  check_size("adaptive_avg_pool2d", height, width);
  return resample(x, adaptive_weights(x.size(2), height), height,
                  adaptive_weights(x.size(3), width), width);
}

Tensor avg_pool2d(const Tensor& x, int64_t kernel, int64_t stride, int64_t padding) {
  check_window("avg_pool2d", x, kernel, stride, padding);
  const int64_t oh = (x.size(2) + 2 * padding - kernel) / stride + 1;
  const int64_t ow = (x.size(3) + 2 * padding - kernel) / stride + 1;
  return resample(x, window_weights(x.size(2), oh, kernel, stride, padding), oh,
                  window_weights(x.size(3), ow, kernel, stride, padding), ow);
}

Tensor max_pool2d(const Tensor& x, int64_t kernel, int64_t stride) {
  check_window("max_pool2d", x, kernel, stride, 0);
  MaxPoolOp op;
  op.kernel = kernel;
  op.stride = stride;
  return apply(std::move(op), x);
}

}  // namespace tessera
