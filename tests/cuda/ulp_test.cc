// bf16 and f16 on the CUDA device: every elementwise op with its derivative, and every row op,
// within 2 ulp of the f64 result of the same inputs, rounded. Where a result is a small difference
// of large terms, what f32 may lose of those terms is allowed on top, and nothing else.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

constexpr DType kHalves[] = {DType::kBF16, DType::kF16};
constexpr int64_t kElements = 4099;                      // no multiple of what a thread reads
constexpr int64_t kRowSizes[] = {1, 31, 33, 197, 1030};  // a warp a row, and a block a row
constexpr double kMostUlps = 2;
constexpr double kTermRoundings = 8;  // f32 roundings of the terms

constexpr UnaryOp kUnaryOps[] = {
#define ENTRY(Name, ...) UnaryOp::k##Name,
    TESSERA_UNARY_OPS(ENTRY) TESSERA_UNARY_OPS_1(ENTRY) TESSERA_UNARY_OPS_2(ENTRY)
#undef ENTRY
};
constexpr BinaryOp kBinaryOps[] = {
#define ENTRY(Name, ...) BinaryOp::k##Name,
    TESSERA_BINARY_OPS(ENTRY)
#undef ENTRY
};

// A tensor on both sides: on the device in 16 bits, on the CPU the same numbers in f64.
struct Both {
  Tensor low, wide;

  Both(const Tensor& x, DType dtype)
      : low(raw::to(raw::to(x, dtype), Device::kCuda)),
        wide(raw::to(raw::to(x, dtype), DType::kF64)) {}
};

Tensor normal(const Shape& shape, uint32_t site) {
  return raw::normal(shape, RandomKey{11, 0, site});
}
Tensor positive(const Shape& shape, uint32_t site) {
  return raw::uniform(shape, RandomKey{11, 1, site}, 0.25, 4);
}

std::vector<double> numbers(const Tensor& t) { return raw::to(t, DType::kF64).to_vector<double>(); }

// The distance of two neighbours of x, which is of `dtype`.
double ulp(double x, DType dtype) {
  const int digits = dtype == DType::kBF16 ? 7 : 10, least = dtype == DType::kBF16 ? -126 : -14;
  return std::ldexp(1.0, (x == 0 ? least : std::max(std::ilogb(x), least)) - digits);
}

// terms: of want's shape, the absolute terms that want is a difference of; undefined: it is none.
void check(const std::string& what, const Tensor& have, const Tensor& want,
           const Tensor& terms = {}) {
  const DType dtype = have.dtype();
  REQUIRE(have.device() == Device::kCuda);
  REQUIRE(have.shape() == want.shape());
  const std::vector<double> a = numbers(have), b = numbers(raw::to(want, dtype));
  const std::vector<double> sizes =
      terms.defined() ? numbers(terms) : std::vector<double>(a.size());
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double lost = kTermRoundings * 0x1p-24 * sizes[i];
    const double ulps = (std::fabs(a[i] - b[i]) - lost) / ulp(b[i], dtype);
    if (ops_test::is_worse(ulps, worst)) {
      worst = ulps;
      at = i;
    }
  }
  INFO(what << " " << name_of(dtype) << ": " << worst << " ulp, " << a[at] << " for " << b[at]);
  CHECK(worst <= kMostUlps);
}

bool wants_positive(UnaryOp op) {
  return op == UnaryOp::kLog || op == UnaryOp::kSqrt || op == UnaryOp::kRsqrt ||
         op == UnaryOp::kPow;
}
ScalarArgs scalars_of(UnaryOp op) {
  if (op == UnaryOp::kPow) return {1.7, 0};
  if (op == UnaryOp::kClamp) return {-0.5, 0.7};
  return {0.3, 0};
}

TEST_CASE("unary ops and their derivatives in 16 bits") {
  for (const DType dtype : kHalves) {
    for (const UnaryOp op : kUnaryOps) {
      const Shape shape = {kElements};
      const ScalarArgs scalars = scalars_of(op);
      const Both x(wants_positive(op) ? positive(shape, 1) : normal(shape, 1), dtype);
      const Both dy(normal(shape, 2), dtype);
      // 1 + erf and 1 + tanh vanish far below 0; these derivatives and SiLU's have a zero
      // elsewhere.
      const bool gelu = op == UnaryOp::kGelu || op == UnaryOp::kGeluTanh;
      const Tensor size = abs(x.wide);
      const Tensor terms = gelu ? size : Tensor();
      const Tensor slopes = gelu || op == UnaryOp::kSilu ? abs(dy.wide) * (size + 1) : Tensor();
      const Tensor want = raw::unary(op, x.wide, scalars);
      check(name_of(op), raw::unary(op, x.low, scalars), want, terms);
      const Both saved(saves_of(op) == Saves::kOutput ? want : x.wide, dtype);
      check(std::string(name_of(op)) + "'s derivative",
            raw::unary_backward(op, saved.low, dy.low, scalars),
            raw::unary_backward(op, saved.wide, dy.wide, scalars), slopes);
    }
  }
}

TEST_CASE("binary ops and their derivatives in 16 bits") {
  for (const DType dtype : kHalves) {
    for (const BinaryOp op : kBinaryOps) {
      const Shape shape = {kElements};
      const Both a(normal(shape, 1), dtype), dy(normal(shape, 3), dtype);
      const Both b(op == BinaryOp::kDiv ? positive(shape, 2) : normal(shape, 2), dtype);
      check(name_of(op), raw::binary(op, a.low, b.low), raw::binary(op, a.wide, b.wide));
      const raw::Pair have = raw::binary_backward(op, a.low, b.low, dy.low, true, true);
      const raw::Pair want = raw::binary_backward(op, a.wide, b.wide, dy.wide, true, true);
      check(std::string(name_of(op)) + "'s first derivative", have.first, want.first);
      check(std::string(name_of(op)) + "'s second derivative", have.second, want.second);
    }
  }
}

TEST_CASE("a bias and GELU in 16 bits, the bias in 16 bits and in f32") {
  for (const DType dtype : kHalves) {
    for (const int64_t n : kRowSizes) {
      const Both x(normal({21, n}, 1), dtype), b(normal({n}, 2), dtype);
      const Tensor terms = abs(x.wide) + abs(b.wide), want = gelu(x.wide + b.wide);
      const std::string what = "bias_gelu of " + std::to_string(n);
      check(what, bias_gelu(x.low, b.low), want, terms);
      check(what + " by f32", bias_gelu(x.low, raw::to(b.low, DType::kF32)), want, terms);
    }
  }
}

TEST_CASE("softmax and log_softmax in 16 bits") {
  for (const DType dtype : kHalves) {
    for (const int64_t n : kRowSizes) {
      const Both x(normal({21, n}, 1), dtype);
      const std::string size = " of " + std::to_string(n);
      check("softmax" + size, softmax(x.low, -1), softmax(x.wide, -1));
      check("log_softmax" + size, log_softmax(x.low, -1), log_softmax(x.wide, -1));
    }
  }
}

// (x - mean) rstd w + b is a difference twice: of x and the mean, and of the product and b.
Tensor terms_of_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  return (abs(layer_norm(x, {}, {}, eps)) + 1) * abs(w) + abs(b);
}

TEST_CASE("layer norm, alone and of a residual sum, in 16 bits") {
  const double eps = 1e-6;
  for (const DType dtype : kHalves) {
    for (const int64_t n : kRowSizes) {
      if (n == 1) continue;  // x - mean is 0
      const Shape shape = {21, n};
      const Both x(normal(shape, 1), dtype), r(normal(shape, 2), dtype);
      const Both w(normal({n}, 3), dtype), b(normal({n}, 4), dtype);
      const std::string size = " of " + std::to_string(n);
      check("layer_norm" + size, layer_norm(x.low, w.low, b.low, eps),
            layer_norm(x.wide, w.wide, b.wide, eps), terms_of_norm(x.wide, w.wide, b.wide, eps));
      const NormedSum have = add_layer_norm(x.low, r.low, w.low, b.low, eps);
      const Tensor sum = x.wide + r.wide;
      check("add_layer_norm's sum" + size, have.sum, sum);
      const Both stored(sum, dtype);  // what is normalised is the sum as it is stored
      check("add_layer_norm" + size, have.normed, layer_norm(stored.wide, w.wide, b.wide, eps),
            terms_of_norm(stored.wide, w.wide, b.wide, eps));
    }
  }
}

TEST_CASE("reductions over rows and columns in 16 bits") {
  for (const DType dtype : kHalves) {
    for (const int64_t n : kRowSizes) {
      const std::string size = " of " + std::to_string(n);
      for (const int64_t dim : {0, 1}) {
        const Both x(normal(dim == 1 ? Shape{21, n} : Shape{n, 21}, 1), dtype);
        const Tensor terms = sum(abs(x.wide), {dim});
        check("sum" + size, sum(x.low, {dim}), sum(x.wide, {dim}), terms);
        // The sum is rounded before it is divided: a second rounding, still within 2 ulp.
        check("mean" + size, mean(x.low, {dim}), mean(x.wide, {dim}),
              terms / static_cast<double>(n));
        check("amax" + size, amax(x.low, {dim}), amax(x.wide, {dim}));
        check("cumsum" + size, cumsum(x.low, dim), cumsum(x.wide, dim), cumsum(abs(x.wide), dim));
      }
    }
  }
}

}  // namespace
}  // namespace tessera
