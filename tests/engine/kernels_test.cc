// What the op table does not reach through functions.h: the whole contract of gemm, AdamW's kernel,
// infinities and NaN, and how exact the lane functions are over their whole range.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "engine/backend.h"
#include "engine/raw.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Every kernel runs on default_device(): the CPU, unless the program was linked with another.
Tensor full(const Shape& shape, double value, DType dtype = DType::kF32) {
  return Tensor::full(shape, value, dtype, default_device());
}
Tensor zeros(const Shape& shape, DType dtype = DType::kF32) { return full(shape, 0, dtype); }
template <class T>
Tensor from(const std::vector<T>& values, const Shape& shape) {
  return Tensor::from(values, shape, default_device());
}

std::vector<double> values(const Tensor& t) { return raw::to(t, DType::kF64).to_vector<double>(); }

Tensor random(const Shape& shape, uint32_t site, DType dtype) {
  return raw::to(raw::normal(shape, RandomKey{5, 0, site}, 0, 1, DType::kF32, default_device()),
                 dtype);
}

TEST_CASE("gemm: alpha, beta, bias, transposes, broadcast batches, wide rows of c") {
  const int64_t batch = 3, m = 21, k = 18, n = 35;
  const double rounding[] = {2e-5, 1e-12, 2e-3, 2e-2};  // f32, f64, f16, bf16, of sums near 10
  for (int type = 0; type < 4; ++type) {
    const DType dtype = static_cast<DType>(type);
    for (int setting = 0; setting < 32; ++setting) {
      const bool turn_a = setting & 1, turn_b = setting & 2, shared_b = setting & 4;
      const bool bias = setting & 8;
      const double alpha = setting & 16 ? 1.5 : 1,
                   beta = setting & 8 ? 1 : (setting & 16 ? -0.5 : 0);
      Tensor a = random(turn_a ? Shape{batch, k, m} : Shape{batch, m, k}, 1, dtype);
      Tensor b = random(
          turn_b ? Shape{shared_b ? 1 : batch, n, k} : Shape{shared_b ? 1 : batch, k, n}, 2, dtype);
      if (turn_a) a = raw::transpose(a, 1, 2);
      if (turn_b) b = raw::transpose(b, 1, 2);
      if (shared_b) b = raw::expand(b, {batch, k, n});
      const Tensor offset = random({n}, 3, dtype);
      // c is the middle of wider rows; beta 0 must not read the NaN in it.
      const Tensor wide =
          beta == 0 ? full({batch, m, n + 5}, NAN, dtype) : random({batch, m, n + 5}, 4, dtype);
      const Tensor c = raw::slice(wide, 2, 2, 2 + n);
      const std::vector<double> va = values(a), vb = values(b), vc = values(c), vo = values(offset);
      const std::vector<double> around = values(raw::slice(wide, 2, 2 + n, n + 5));
      GemmArgs args;
      args.a = a.view();
      args.b = b.view();
      args.c = c.view();
      if (bias) args.bias = offset.view();
      args.alpha = alpha;
      args.beta = beta;
      a.backend().gemm(args);
      const std::vector<double> have = values(c);
      double worst = 0;
      for (int64_t i = 0; i < batch * m * n; ++i) {
        const int64_t g = i / (m * n), row = i / n % m, column = i % n;
        double want = bias ? vo[static_cast<size_t>(column)] : 0;
        if (beta != 0) want += beta * vc[static_cast<size_t>(i)];
        for (int64_t p = 0; p < k; ++p) {
          want += alpha * va[static_cast<size_t>((g * m + row) * k + p)] *
                  vb[static_cast<size_t>((g * k + p) * n + column)];
        }
        worst = std::max(
            worst, std::fabs(have[static_cast<size_t>(i)] - want) / std::max(1.0, std::fabs(want)));
        if (std::isnan(have[static_cast<size_t>(i)])) worst = kInf;
      }
      INFO(name_of(dtype) << " setting " << setting);
      CHECK(worst < rounding[type]);
      const std::vector<double> still = values(raw::slice(wide, 2, 2 + n, n + 5));
      for (size_t i = 0; i < around.size(); ++i) {
        CHECK((still[i] == around[i] || (std::isnan(still[i]) && std::isnan(around[i]))));
      }
    }
  }
}

TEST_CASE("gemm_into overwrites with beta 0 and adds with beta 1") {
  const Tensor a = random({4, 5}, 1, DType::kF32), b = random({5, 3}, 2, DType::kF32);
  const Tensor out = full({4, 3}, NAN);
  const uint64_t version = out.storage()->version();
  raw::gemm_into(a, b, out, 0);
  CHECK(values(out) == values(raw::matmul(a, b)));
  CHECK(out.storage()->version() == version + 1);
  raw::gemm_into(a, b, out, 1);
  CHECK(values(out)[7] == Approx(2 * values(raw::matmul(a, b))[7]));
  CHECK_THROWS_WITH(raw::gemm_into(a, b, zeros({3, 4}), 0),
                    Catch::Contains("[gemm_into]") && Catch::Contains("(3, 4)"));
}

// Sizes above what one task does, odd and even, shallow and deep.
TEST_CASE("a product has the same bits on one thread and on several") {
  struct Size {
    int64_t m, n, k;
  };
  const int threads_before = num_threads();
  for (const Size& s : {Size{640, 513, 97},
                        {257, 1031, 400},
                        {1030, 260, 1000},
                        {500, 700, 1576},
                        {1100, 1100, 500}}) {
    for (int setting = 0; setting < 4; ++setting) {
      const bool a_turned = setting & 1, b_turned = setting & 2;
      const auto operand = [](int64_t rows, int64_t cols, bool turned, uint32_t site) {
        const Tensor t = random(turned ? Shape{cols, rows} : Shape{rows, cols}, site, DType::kF32);
        return turned ? raw::transpose(t, 0, 1) : t;
      };
      const Tensor a = operand(s.m, s.k, a_turned, 1), b = operand(s.k, s.n, b_turned, 2);
      const Tensor before = random({s.m, s.n}, 3, DType::kF32);
      std::vector<double> alone;
      for (const int threads : {1, 2, 3, 5}) {
        set_num_threads(threads);
        const Tensor c = raw::clone(before);
        raw::gemm_into(a, b, c, 1);
        INFO(s.m << " x " << s.n << " x " << s.k << ", setting " << setting << ", " << threads
                 << " threads");
        if (threads == 1) alone = values(c);
        CHECK((values(c) == alone));
      }
    }
  }
  set_num_threads(threads_before);
}

// Both roads of bf16, where gemm takes the one that is faster on the processor. Where a vendor's
// library picks its kernels by the strides, a layout gives its own bits each time, and another one
// adds up in another order: either is off by some 4 sqrt(k) roundings of the absolute sum at most.
TEST_CASE("each of our roads to a product gives the same bits for every layout of its operands") {
  const int64_t m = 37, n = 70, k = 1100;
  const bool strides_count = backend(default_device()).products_depend_on_strides();
  for (const GemmImplementation& way : backend(default_device()).gemm_implementations()) {
    if (!way.name.starts_with("tessera")) continue;
    for (const DType dtype : way.dtypes) {
      const Tensor a = random({1, m, k}, 1, dtype), b = random({1, k, n}, 2, dtype);
      const auto absolute = [](const Tensor& t) {
        return raw::unary(UnaryOp::kAbs, raw::to(t, DType::kF64));
      };
      const std::vector<double> sizes = values(raw::matmul(absolute(a), absolute(b)));
      const double rounding = dtype == DType::kF64 ? 0x1p-53 : 0x1p-24;
      std::vector<double> plain;
      for (int setting = 0; setting < 4; ++setting) {
        INFO(way.name << " " << name_of(dtype) << ", setting " << setting);
        const auto turned = [](const Tensor& t) {
          return raw::transpose(raw::contiguous(raw::transpose(t, 1, 2)), 1, 2);
        };
        const Tensor left = setting & 1 ? turned(a) : a, right = setting & 2 ? turned(b) : b;
        const auto product = [&] {
          const Tensor c = full({1, m, n}, NAN, dtype == DType::kF64 ? dtype : DType::kF32);
          GemmArgs args;
          args.a = left.view();
          args.b = right.view();
          args.c = c.view();
          way.run(args);
          return values(c);
        };
        const std::vector<double> have = product();
        CHECK((product() == have));
        if (setting == 0) plain = have;
        if (!strides_count) {
          CHECK((have == plain));
          continue;
        }
        double worst = 0;
        for (size_t i = 0; i < have.size(); ++i) {
          const double bound = 2 * 4 * std::sqrt(double(k)) * rounding * sizes[i];
          const double share = std::fabs(have[i] - plain[i]) / bound;
          if (ops_test::is_worse(share, worst)) worst = share;
        }
        CHECK(worst <= 1);
      }
    }
  }
}

// Loshchilov and Hutter in f64, in the order PyTorch documents.
TEST_CASE("AdamW's kernel: segments, decay, rate scales, gradient scale, gaps, average") {
  const int64_t n = 40000;  // more than one task
  const Tensor p = random({n}, 1, DType::kF32), g = random({n}, 2, DType::kF32);
  const Tensor m = zeros({n}), v = zeros({n});
  const std::vector<AdamWSegment> segments = {
      {0, 10, 0, 1}, {16, 20000, 0.05f, 0.5f}, {20016, n - 7, 0.1f, 1}};
  std::vector<double> wp = values(p), wm(wp.size()), wv(wp.size());
  const std::vector<double> grad = values(g), start = wp;
  AdamWArgs args;
  args.param = p.view();
  args.grad = g.view();
  args.exp_avg = m.view();
  args.exp_avg_sq = v.view();
  const Tensor segment_bytes =
      raw::from_bytes(std::as_bytes(std::span(segments)), default_device());
  args.segments = static_cast<const AdamWSegment*>(segment_bytes.view().data);
  args.segment_count = std::ssize(segments);
  args.beta1 = 0.9;
  args.beta2 = 0.95;
  const Tensor shadow = zeros({n}, DType::kBF16), average = raw::clone(p);
  args.shadow = shadow.view();
  args.average = average.view();
  const double lr_now = 1e-2, grad_scale = 0.25;
  std::vector<double> wa = start;
  for (int64_t step = 1; step <= 4; ++step) {
    StepState state;
    state.lr = lr_now;
    state.grad_scale = grad_scale;
    state.correction1 = 1 - std::pow(args.beta1, step);
    state.correction2 = 1 - std::pow(args.beta2, step);
    state.average_decay = 0.75;
    state.update = step < 4;  // the last is skipped
    const Tensor bytes = raw::from_bytes(std::as_bytes(std::span(&state, 1)), default_device());
    args.state = static_cast<const StepState*>(bytes.view().data);
    p.backend().adamw(args);
    if (step == 4) break;
    for (const AdamWSegment& s : segments) {
      for (int64_t i = s.begin; i < s.end; ++i) {
        const size_t e = static_cast<size_t>(i);
        const double lr = lr_now * s.lr_scale, d = grad[e] * grad_scale;
        wp[e] *= 1 - lr * s.weight_decay;
        wm[e] = args.beta1 * wm[e] + (1 - args.beta1) * d;
        wv[e] = args.beta2 * wv[e] + (1 - args.beta2) * d * d;
        const double denominator =
            std::sqrt(wv[e]) / std::sqrt(1 - std::pow(args.beta2, step)) + args.eps;
        wp[e] -= lr / (1 - std::pow(args.beta1, step)) * wm[e] / denominator;
        wa[e] = 0.75 * wa[e] + 0.25 * wp[e];
      }
    }
  }
  const std::vector<double> have = values(p), have_m = values(m), have_v = values(v),
                            have_average = values(average);
  double worst = 0;
  for (size_t e = 0; e < wp.size(); ++e) {
    worst = std::max({worst, std::fabs(have[e] - wp[e]), std::fabs(have_m[e] - wm[e]),
                      std::fabs(have_v[e] - wv[e]), std::fabs(have_average[e] - wa[e])});
  }
  CHECK(values(shadow) == values(raw::to(p, DType::kBF16)));
  // Three steps, each rounding a weight three times at most.
  CHECK(worst < 9 * 0x1p-24 * *std::max_element(have.begin(), have.end()));
  for (const size_t gap : {size_t{10}, size_t{15}, size_t{20000}, size_t{20015}, wp.size() - 1}) {
    CHECK(have[gap] == start[gap]);
    CHECK(have_m[gap] == 0);
    CHECK(have_average[gap] == start[gap]);
  }
}

TEST_CASE("the first number that is none") {
  std::vector<float> numbers(2100, 0);
  CHECK_FALSE(raw::first_nonfinite(from(numbers, {300, 7})).has_value());
  numbers[1500] = NAN;
  numbers[777] = -std::numeric_limits<float>::infinity();
  const Tensor t = from(numbers, {300, 7});
  CHECK(raw::first_nonfinite(t) == 777);
  CHECK(raw::first_nonfinite(raw::transpose(t, 0, 1)) == 0 * 300 + 111);
  for (const DType dtype : {DType::kF64, DType::kF16, DType::kBF16}) {
    CHECK(raw::first_nonfinite(raw::to(t, dtype)) == 777);
  }
  CHECK_FALSE(raw::first_nonfinite(zeros({0})).has_value());
  CHECK_FALSE(raw::first_nonfinite(zeros({3}, DType::kI64)).has_value());
}

TEST_CASE("sums of many numbers keep their digits") {
  const int64_t n = 3000001;
  CHECK(raw::sum(full({n}, 0.1), {}, false).item() == Approx(0.1 * n).epsilon(1e-6));
  CHECK(raw::sum_squares(full({n}, 0.1)).item() == Approx(0.01 * n).epsilon(1e-6));
  CHECK(raw::sum(full({n, 3}, 0.1), {0}, false).to_vector<float>()[2] ==
        Approx(0.1 * n).epsilon(1e-6));
}

struct Exactness {
  UnaryOp op;
  double low, high;
  std::function<double(double)> reference;
  // Largest error in units of the result's last place (f32), or of 1 where it crosses zero.
  double places;
  bool absolute = false;
};

TEST_CASE("lane functions are exact to a few units over their range") {
  const Exactness all[] = {
      {UnaryOp::kExp, -87, 88, [](double x) { return std::exp(x); }, 2},
      {UnaryOp::kLog, 1e-30, 1e30, [](double x) { return std::log(x); }, 2},
      {UnaryOp::kLog, 0.5, 2, [](double x) { return std::log(x); }, 2},
      {UnaryOp::kSqrt, 1e-30, 1e30, [](double x) { return std::sqrt(x); }, 1},
      {UnaryOp::kRsqrt, 1e-30, 1e30, [](double x) { return 1 / std::sqrt(x); }, 2},
      {UnaryOp::kTanh, -12, 12, [](double x) { return std::tanh(x); }, 8},
      {UnaryOp::kTanh, -0.01, 0.01, [](double x) { return std::tanh(x); }, 8},
      {UnaryOp::kErf, -6, 6, [](double x) { return std::erf(x); }, 8},
      {UnaryOp::kErf, -0.01, 0.01, [](double x) { return std::erf(x); }, 8},
      {UnaryOp::kSigmoid, -30, 30, [](double x) { return 1 / (1 + std::exp(-x)); }, 8},
      {UnaryOp::kGelu, -8, 30, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }, 8,
       true},
      {UnaryOp::kSilu, -30, 30, [](double x) { return x / (1 + std::exp(-x)); }, 10},
      {UnaryOp::kSin, -100, 100, [](double x) { return std::sin(x); }, 4, true},
      {UnaryOp::kCos, -100, 100, [](double x) { return std::cos(x); }, 4, true},
  };
  constexpr int64_t n = 100003;
  for (const Exactness& e : all) {
    for (const DType dtype : {DType::kF32, DType::kF64}) {
      const double unit = dtype == DType::kF32 ? 0x1p-24 : 0x1p-53;
      std::vector<double> x(n);
      for (int64_t i = 0; i < n; ++i) {
        const double t = static_cast<double>(i) / (n - 1);
        // Wide positive ranges are walked by factors.
        x[static_cast<size_t>(i)] =
            e.low > 0 ? e.low * std::pow(e.high / e.low, t) : e.low + (e.high - e.low) * t;
      }
      const Tensor input = raw::to(from(x, {n}), dtype);
      const std::vector<double> in = values(input), out = values(raw::unary(e.op, input));
      double worst = 0, at = 0;
      for (size_t i = 0; i < in.size(); ++i) {
        const double want = e.reference(in[i]);
        const double scale = e.absolute ? std::max(1.0, std::fabs(want)) : std::fabs(want);
        const double error = std::fabs(out[i] - want) / (unit * scale + 1e-300);
        if (want != 0 && ops_test::is_worse(error, worst)) worst = error, at = in[i];
      }
      INFO(name_of(e.op) << " " << name_of(dtype) << " at " << at);
      CHECK(worst <= 2 * e.places);
    }
  }
}

TEST_CASE("infinities, NaN and the ends of the range") {
  struct Point {
    UnaryOp op;
    double x, want;
  };
  const Point points[] = {
      {UnaryOp::kExp, kInf, kInf},   {UnaryOp::kExp, -kInf, 0},    {UnaryOp::kExp, 1000, kInf},
      {UnaryOp::kExp, -1000, 0},     {UnaryOp::kLog, 0, -kInf},    {UnaryOp::kLog, kInf, kInf},
      {UnaryOp::kLog, -1, NAN},      {UnaryOp::kSqrt, -1, NAN},    {UnaryOp::kSqrt, kInf, kInf},
      {UnaryOp::kRsqrt, 0, kInf},    {UnaryOp::kRsqrt, kInf, 0},   {UnaryOp::kTanh, kInf, 1},
      {UnaryOp::kTanh, -kInf, -1},   {UnaryOp::kTanh, 1000, 1},    {UnaryOp::kErf, kInf, 1},
      {UnaryOp::kErf, -kInf, -1},    {UnaryOp::kErf, 100, 1},      {UnaryOp::kSigmoid, kInf, 1},
      {UnaryOp::kSigmoid, -kInf, 0}, {UnaryOp::kSigmoid, 1000, 1}, {UnaryOp::kSigmoid, -1000, 0},
      {UnaryOp::kRelu, -kInf, 0},    {UnaryOp::kRelu, kInf, kInf}, {UnaryOp::kGelu, 1e4, 1e4},
      {UnaryOp::kGelu, -1e4, 0},     {UnaryOp::kGelu, kInf, kInf}, {UnaryOp::kSilu, -1000, 0},
      {UnaryOp::kSilu, 1000, 1000},  {UnaryOp::kAbs, -kInf, kInf}, {UnaryOp::kSquare, -kInf, kInf},
  };
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    for (const Point& p : points) {
      const double have = raw::unary(p.op, full({}, p.x, dtype)).item();
      INFO(name_of(p.op) << "(" << p.x << ") in " << name_of(dtype) << " is " << have);
      CHECK((have == p.want || (std::isnan(have) && std::isnan(p.want))));
    }
    // NaN goes through everything but a comparison.
    for (int op = 0; op <= static_cast<int>(UnaryOp::kClamp); ++op) {
      const ScalarArgs args{0.5, 2};
      const UnaryOp unary = static_cast<UnaryOp>(op);
      INFO(name_of(unary) << "(nan) in " << name_of(dtype));
      CHECK(std::isnan(raw::unary(unary, full({}, NAN, dtype), args).item()));
    }
    const Tensor nan = full({}, NAN, dtype), one = full({}, 1, dtype);
    for (const BinaryOp op : {BinaryOp::kMaximum, BinaryOp::kMinimum, BinaryOp::kAdd}) {
      CHECK(std::isnan(raw::binary(op, nan, one).item()));
      CHECK(std::isnan(raw::binary(op, one, nan).item()));
    }
    CHECK(raw::compare(CompareOp::kEqual, nan, nan).item() == 0);
    CHECK(raw::compare(CompareOp::kNotEqual, nan, nan).item() == 1);
    CHECK(std::isnan(raw::amax(from(std::vector<float>{1, NAN, 3}, {3}), {}, false).item()));
  }
}

TEST_CASE("gradients at kinks are those of PyTorch") {
  const Tensor dy = full({}, 3);
  const auto at = [&](UnaryOp op, double saved, ScalarArgs args = {}) {
    return raw::unary_backward(op, full({}, saved), dy, args).item();
  };
  CHECK(at(UnaryOp::kRelu, 0) == 0);
  CHECK(at(UnaryOp::kAbs, 0) == 0);
  CHECK(at(UnaryOp::kClamp, 1, {-1, 1}) == 3);  // on a bound the gradient passes
  CHECK(at(UnaryOp::kClamp, 1.5, {-1, 1}) == 0);
  const Tensor x = full({}, 2);
  for (const BinaryOp op : {BinaryOp::kMaximum, BinaryOp::kMinimum}) {
    const raw::Pair d = raw::binary_backward(op, x, x, dy, true, true);
    CHECK(d.first.item() == 1.5);
    CHECK(d.second.item() == 1.5);
  }
}

}  // namespace
}  // namespace tessera
