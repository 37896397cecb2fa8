// Every product implementation that a backend offers for benchmarks computes the same product: a
// speed means nothing beside a wrong result.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "engine/backend.h"
#include "engine/raw.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

// The view of a matrix as a batch of one, or of its transpose.
View as_batch(const Tensor& t, bool transposed) {
  const Tensor m = transposed ? raw::transpose(t, 0, 1) : t;
  return m.with_layout(m.offset(), {1, m.size(0), m.size(1)}, {0, m.strides()[0], m.strides()[1]})
      .view();
}

struct Problem {
  int64_t m, n, k;
  bool transpose_a, transpose_b;  // how the operands lie in memory
  double alpha, beta;
};

// The largest error against f64, in units of the result's rounding.
double error_of(const GemmImplementation& implementation, DType dtype, const Problem& p) {
  const auto matrix = [&](int64_t rows, int64_t cols, bool transposed, uint32_t site) {
    const Shape shape = transposed ? Shape{cols, rows} : Shape{rows, cols};
    return raw::to(raw::uniform(shape, {7, 0, site}, -1, 1, DType::kF32, default_device()), dtype);
  };
  const Tensor a = matrix(p.m, p.k, p.transpose_a, 1), b = matrix(p.k, p.n, p.transpose_b, 2);
  const Tensor c = matrix(p.m, p.n, false, 3);
  const auto wide = [](const Tensor& t, bool transposed) {
    const Tensor d = raw::to(t, DType::kF64);
    return transposed ? raw::transpose(d, 0, 1) : d;
  };
  const std::vector<double> product =
      raw::matmul(wide(a, p.transpose_a), wide(b, p.transpose_b)).to_vector<double>();
  const std::vector<double> before = wide(c, false).to_vector<double>();

  GemmArgs args;
  args.a = as_batch(a, p.transpose_a);
  args.b = as_batch(b, p.transpose_b);
  args.c = as_batch(c, false);
  args.alpha = p.alpha;
  args.beta = p.beta;
  implementation.run(args);

  const std::vector<double> after = wide(c, false).to_vector<double>();
  // One rounding of the result, and f32 sums of k numbers below 1.
  const double storage = dtype == DType::kF64   ? 0x1p-53
                         : dtype == DType::kF32 ? 0x1p-24
                         : dtype == DType::kF16 ? 0x1p-11
                                                : 0x1p-8;
  const double sums = (dtype == DType::kF64 ? 0x1p-53 : 0x1p-24) * static_cast<double>(p.k);
  double worst = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    const double wanted = p.alpha * product[i] + p.beta * before[i];
    const double share = std::abs(after[i] - wanted) / (storage * std::abs(wanted) + sums);
    if (ops_test::is_worse(share, worst)) worst = share;
  }
  return worst;
}

}  // namespace

TEST_CASE("every implementation of the product gives the same result") {
  const std::vector<GemmImplementation> all = backend(default_device()).gemm_implementations();
  REQUIRE(all.size() >= 2);
  CHECK(all[0].name == "tessera");  // first: what training uses
  for (const GemmImplementation& implementation : all) {
    CHECK_FALSE(implementation.dtypes.empty());
    for (const DType dtype : implementation.dtypes) {
      for (const bool transpose_a : {false, true}) {
        for (const bool transpose_b : {false, true}) {
          for (const double beta : {0.0, 1.0}) {
            INFO(implementation.name << " " << name_of(dtype) << (transpose_a ? " a^T" : "")
                                     << (transpose_b ? " b^T" : "") << " beta " << beta);
            const Problem small = {33, 48, 65, transpose_a, transpose_b, 1, beta};
            CHECK(error_of(implementation, dtype, small) < 2);
            const Problem large = {130, 96, 300, transpose_a, transpose_b, 1, beta};
            CHECK(error_of(implementation, dtype, large) < 2);
          }
        }
      }
      CHECK(error_of(implementation, dtype, {20, 30, 40, false, true, 0.5, 0.25}) < 2);
    }
  }
}

TEST_CASE("an implementation refuses what it does not name") {
  const Tensor a = Tensor::zeros({4, 4}, DType::kF64, default_device());
  for (const GemmImplementation& implementation :
       backend(default_device()).gemm_implementations()) {
    const std::vector<DType>& named = implementation.dtypes;
    if (std::find(named.begin(), named.end(), DType::kF64) != named.end()) continue;
    GemmArgs args;
    args.a = args.b = args.c = as_batch(a, false);
    CHECK_THROWS_AS(implementation.run(args), Error);
  }
}

}  // namespace tessera
