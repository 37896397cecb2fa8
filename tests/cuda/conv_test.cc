// Convolutions of the vendor's library and our own, both against ours in f64: every kind that a
// model here has, forward and backward. On the emulator the two are one; on a GPU they are not.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <vector>

#include "cuda/kernels.h"
#include "cuda/vendor.h"
#include "engine/raw.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

using Convolution = void (*)(const ConvArgs&);

struct Kind {
  Shape x, w;
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
};

const Kind kKinds[] = {
    {{3, 3, 32, 32}, {40, 3, 8, 8}, 8},           // patches
    {{2, 16, 13, 11}, {24, 16, 3, 3}, 1, 1},      // a residual block
    {{2, 16, 14, 14}, {8, 16, 4, 4}, 2, 1},       // halves the sides
    {{2, 32, 7, 9}, {48, 32, 1, 1}},              // a product
    {{2, 3, 20, 17}, {8, 3, 7, 7}, 1, 3},         // DALL-E's first
    {{3, 8, 12, 12}, {12, 4, 3, 3}, 1, 2, 2, 2},  // two groups, dilated
    {{2, 6, 9, 9}, {6, 1, 3, 3}, 2, 1, 1, 6},     // a group each
    {{1, 5, 10, 8}, {7, 5, 3, 2}, 3, 0},          // pixels that no output sees
    {{33, 2, 5, 5}, {3, 2, 5, 5}},                // one position
};

Tensor random(const Shape& shape, uint32_t site) {
  return raw::normal(shape, RandomKey{3, 0, site}, 0, 1, DType::kF64, Device::kCuda);
}
Tensor absolute(const Tensor& x) { return raw::unary(UnaryOp::kAbs, x); }
std::vector<double> values(const Tensor& t) { return raw::to(t, DType::kF64).to_vector<double>(); }

enum Pass { kForward, kInput, kWeight };
struct Roads {
  Convolution vendor, own;
};
const Roads kRoads[] = {{cuda::vendor::conv2d, cuda::conv2d},
                        {cuda::vendor::conv2d_dx, cuda::conv2d_dx},
                        {cuda::vendor::conv2d_dw, cuda::conv2d_dw}};

// x, w and y; the pass's result is one of them.
struct Operands {
  Tensor all[3];
};

Tensor convolve(const Kind& k, Pass pass, const Operands& in, Convolution road) {
  constexpr int kResult[] = {2, 0, 1};
  Operands on = in;
  Tensor& result = on.all[kResult[pass]];
  result = Tensor::full(result.shape(), NAN, result.dtype(), result.device());
  road({on.all[0].view(), on.all[1].view(), on.all[2].view(), k.stride, k.padding, k.dilation,
        k.groups});
  return result;
}

Operands operands_of(const Kind& k) {
  const auto out = [&](int d) {
    return (k.x[d] + 2 * k.padding - k.dilation * (k.w[d] - 1) - 1) / k.stride + 1;
  };
  return {random(k.x, 1), random(k.w, 2), random({k.x[0], k.w[0], out(2), out(3)}, 3)};
}

Operands each(const Operands& in, const std::function<Tensor(const Tensor&)>& f) {
  return {f(in.all[0]), f(in.all[1]), f(in.all[2])};
}

// How many products are summed in one element.
double depth_of(const Kind& k, Pass pass, const Operands& in) {
  const Tensor &w = in.all[1], &y = in.all[2];
  if (pass == kWeight) return static_cast<double>(y.size(0) * y.size(2) * y.size(3));
  const auto taps = static_cast<double>(w.size(2) * w.size(3));
  return taps * static_cast<double>(pass == kForward ? w.size(1) : w.size(0) / k.groups);
}

// |have - want| against a rounding of the result and the sum's own, 4 sqrt(K) 2^-24 (|A| |B|).
double worst_share(const Tensor& have, const Tensor& want, const Tensor& sizes, double depth) {
  const DType dtype = have.dtype();
  const double last = dtype == DType::kF64   ? 0x1p-52
                      : dtype == DType::kF32 ? 0x1p-23
                      : dtype == DType::kF16 ? 0x1p-10
                                             : 0x1p-8;
  const double sum = 4 * std::sqrt(depth) * (dtype == DType::kF64 ? 0x1p-53 : 0x1p-24);
  const auto h = values(have), w = values(want), s = values(sizes);
  double worst = 0;
  for (size_t i = 0; i < h.size(); ++i) {
    const double share = std::fabs(h[i] - w[i]) / (last * std::fabs(w[i]) + sum * s[i] + 1e-300);
    if (ops_test::is_worse(share, worst)) worst = share;
  }
  return worst;
}

TEST_CASE("the library's convolutions and our own form the same sums") {
  WARN(cuda::vendor::describe());
  for (const Kind& k : kKinds) {
    for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16, DType::kF16}) {
      const Operands low = each(operands_of(k), [&](const Tensor& x) { return raw::to(x, dtype); });
      const Operands exact = each(low, [](const Tensor& x) { return raw::to(x, DType::kF64); });
      for (const Pass pass : {kForward, kInput, kWeight}) {
        const auto& [vendor, own] = kRoads[pass];
        const Tensor want = convolve(k, pass, exact, own);
        const Tensor sizes = convolve(k, pass, each(exact, absolute), own);
        const double depth = depth_of(k, pass, low);
        INFO("x " << describe(low.all[0]) << ", w " << describe(low.all[1]) << ", pass " << pass);
        const Tensor first = convolve(k, pass, low, vendor);
        CHECK(worst_share(first, want, sizes, depth) <= 1);
        CHECK(worst_share(convolve(k, pass, low, own), want, sizes, depth) <= 1);
        CHECK(values(first) == values(convolve(k, pass, low, vendor)));
      }
    }
  }
}

TEST_CASE("operands at odd addresses") {
  const Kind& k = kKinds[1];
  Operands in = each(operands_of(k), [](const Tensor& x) { return raw::to(x, DType::kF32); });
  const Tensor want = convolve(k, kForward, in, cuda::conv2d);
  const Tensor longer =
      raw::cat({Tensor::zeros({1}, DType::kF32, Device::kCuda), raw::reshape(in.all[0], {-1})}, 0);
  in.all[0] = raw::reshape(raw::slice(longer, 0, 1, longer.size(0)), k.x);
  REQUIRE(in.all[0].offset() == 1);
  CHECK(values(convolve(k, kForward, in, cuda::vendor::conv2d)) == values(want));
}

TEST_CASE("more images than our own unfolds at once") {
  const Kind k{{2, 1, 926, 926}, {2, 1, 7, 7}};  // 41 million columns an image
  const Operands in = each(operands_of(k), [](const Tensor& x) { return raw::to(x, DType::kF32); });
  const auto one = [&](int64_t image) {
    const auto part = [&](const Tensor& x) {
      return raw::contiguous(raw::slice(x, 0, image, image + 1));
    };
    return Operands{part(in.all[0]), in.all[1], part(in.all[2])};
  };
  const auto y = values(convolve(k, kForward, in, cuda::conv2d));
  auto both = values(convolve(k, kForward, one(0), cuda::conv2d));
  for (const double v : values(convolve(k, kForward, one(1), cuda::conv2d))) both.push_back(v);
  CHECK(y == both);
  const auto dw = values(convolve(k, kWeight, in, cuda::conv2d_dw));
  const auto first = values(convolve(k, kWeight, one(0), cuda::conv2d_dw));
  const auto second = values(convolve(k, kWeight, one(1), cuda::conv2d_dw));
  for (size_t i = 0; i < dw.size(); ++i) {
    CHECK(dw[i] == static_cast<double>(static_cast<float>(first[i] + second[i])));
  }
}

}  // namespace
}  // namespace tessera
