// Both roads of attention on the CUDA device, by tiles on tensor cores and by rows, against f64 on
// the CPU: results, log-sum-exps and all gradients within the op table's bounds, at lengths around
// tiles and warps and at those of real models.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "cuda/kernels.h"
#include "engine/raw.h"
#include "tests/ops/compare.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

struct Sizes {
  int64_t images, heads, n, m, d;
  bool bias = false;
};

// q, k, v, the bias (an undefined Tensor: none) and dout, rounded to a dtype but held in f64.
struct Inputs {
  Tensor q, k, v, bias, dout;
  double scale = 0.2;
};

Inputs make(const Sizes& s, DType dtype) {
  const auto random = [&](const Shape& shape, uint32_t site) {
    const Tensor x = raw::normal(shape, RandomKey{5, 0, site});
    return raw::to(raw::to(x, dtype), DType::kF64);
  };
  Inputs in{random({s.images, s.heads, s.n, s.d}, 1), random({s.images, s.heads, s.m, s.d}, 2),
            random({s.images, s.heads, s.m, s.d}, 3), Tensor(),
            random({s.images, s.heads, s.n, s.d}, 4)};
  if (s.bias) in.bias = random({1, s.heads, s.n, s.m}, 5);
  return in;
}

enum class Road { kCpu, kTiles, kRows };

// out, lse, dq, dk, dv and, with a bias, its gradient.
struct Outcome {
  std::vector<std::vector<double>> all;
};

Outcome run(const Inputs& in, DType dtype, DType bias_dtype, Road road) {
  const Device device = road == Road::kCpu ? Device::kCpu : Device::kCuda;
  const auto place = [&](const Tensor& x, DType as) { return raw::to(raw::to(x, as), device); };
  const Tensor q = place(in.q, dtype), k = place(in.k, dtype), v = place(in.v, dtype),
               dout = place(in.dout, dtype);
  const Tensor bias = in.bias.defined() ? place(in.bias, bias_dtype) : Tensor();
  const int64_t b = q.size(0), h = q.size(1), n = q.size(2), m = k.size(2);
  const Tensor out = Tensor::empty(q.shape(), dtype, device),
               dq = Tensor::empty(q.shape(), dtype, device),
               dk = Tensor::empty(k.shape(), dtype, device),
               dv = Tensor::empty(k.shape(), dtype, device),
               lse = Tensor::empty({b, h, n}, dtype == DType::kF64 ? DType::kF64 : DType::kF32,
                                   device);
  Tensor dbias;
  AttentionBackwardArgs back;
  AttentionArgs& args = back.forward;
  args.q = q.view();
  args.k = k.view();
  args.v = v.view();
  args.scale = in.scale;
  args.out = out.view();
  args.lse = lse.view();
  back.dout = dout.view();
  back.dq = dq.view();
  back.dk = dk.view();
  back.dv = dv.view();
  if (bias.defined()) {
    args.bias = raw::expand(bias, {b, h, n, m}).view();
    dbias = Tensor::zeros({h, n, m}, bias_dtype, device);
    back.dbias = dbias.view();
  }
  if (road == Road::kCpu) {
    backend(device).attention(args);
    backend(device).attention_backward(back);
  } else if (road == Road::kTiles) {
    REQUIRE(cuda::takes_tiles(args));
    cuda::attention_by_tiles(args);
    cuda::attention_by_tiles_backward(back);
  } else {
    cuda::attention_by_rows(args);
    cuda::attention_by_rows_backward(back);
  }
  Outcome outcome;
  for (const Tensor& x : {out, lse, dq, dk, dv, dbias}) {
    if (x.defined()) outcome.all.push_back(raw::to(x, DType::kF64).to_vector<double>());
  }
  return outcome;
}

void compare(const std::string& what, const Outcome& have, const Outcome& want, DType dtype) {
  constexpr const char* kNames[] = {"out", "lse", "dq", "dk", "dv", "dbias"};
  REQUIRE(have.all.size() == want.all.size());
  for (size_t k = 0; k < want.all.size(); ++k) {
    double scale = 1, worst = 0;  // of the bound
    for (const double w : want.all[k]) scale = std::fmax(scale, std::fabs(w));
    for (size_t i = 0; i < want.all[k].size(); ++i) {
      const double w = want.all[k][i];
      // As the op table has it: two roundings forward, three more backward; lse is f32.
      const double bound = k == 1 ? ops_test::bound(DType::kF32, 1, w, scale)
                                  : ops_test::bound(dtype, k == 0 ? 2 : 5, w, scale);
      const double error = std::fabs(have.all[k][i] - w) / bound;
      if (ops_test::is_worse(error, worst)) worst = error;
    }
    INFO(what << ", " << kNames[k] << ": off by " << worst << " of the bound");
    CHECK(worst <= 1);
  }
}

void check_roads(const Sizes& s, DType dtype, const Inputs& in) {
  const std::string what = fmt::format("{} ({}, {}, {} by {}, {}){}", name_of(dtype), s.images,
                                       s.heads, s.n, s.m, s.d, s.bias ? " biased" : "");
  // A bias is as wide as the rest, or stays f32 when the rest is cast.
  const DType bias_dtype = s.n % 2 == 0 ? dtype : DType::kF32;
  const Outcome want = run(in, DType::kF64, DType::kF64, Road::kCpu);
  compare("tiles, " + what, run(in, dtype, bias_dtype, Road::kTiles), want, dtype);
  compare("rows, " + what, run(in, dtype, bias_dtype, Road::kRows), want, dtype);
}

constexpr DType kHalves[] = {DType::kF16, DType::kBF16};

TEST_CASE("lengths around tiles and warps") {
  const Sizes all[] = {
      {2, 2, 1, 1, 16},           {1, 2, 17, 17, 8, true}, {1, 1, 31, 31, 5},
      {2, 1, 33, 33, 24, true},   {1, 1, 65, 65, 48},      {1, 1, 257, 257, 16, true},
      {1, 2, 16, 32, 80, true},   {2, 1, 1, 65, 96},       {1, 1, 65, 1, 112, true},
      {1, 1, 34, 129, 128, true}, {1, 1, 130, 18, 125},
  };
  for (const Sizes& s : all) {
    for (const DType dtype : kHalves) check_roads(s, dtype, make(s, dtype));
  }
}

TEST_CASE("the lengths and heads of real models") {
  // MAE's encoder sees 50 tokens, its decoder 197 in heads of 32; BEiT 197, with a bias.
  for (const Sizes& s :
       {Sizes{2, 2, 50, 50, 64}, {1, 1, 197, 197, 32}, {1, 1, 197, 197, 64, true}}) {
    for (const DType dtype : kHalves) check_roads(s, dtype, make(s, dtype));
  }
}

TEST_CASE("the bias's gradient over more images than groups") {
  const Sizes s{37, 2, 17, 33, 16, true};
  for (const DType dtype : kHalves) check_roads(s, dtype, make(s, dtype));
}

TEST_CASE("keys that a bias of -inf hides, a whole tile of them first") {
  const Sizes s{1, 1, 20, 70, 16, true};
  Inputs in = make(s, DType::kBF16);
  std::vector<double> bias = in.bias.to_vector<double>();
  for (size_t i = 0; i < bias.size(); ++i) {
    if (i % 70 < 40 || i % 7 == 0) bias[i] = -std::numeric_limits<double>::infinity();
  }
  in.bias = Tensor::from(bias, {1, 1, 20, 70});
  check_roads(s, DType::kBF16, in);
}

TEST_CASE("scores far from 0") {
  const Sizes s{1, 1, 33, 40, 16, true};
  for (const double shift : {-3000.0, 3000.0}) {
    Inputs in = make(s, DType::kF16);
    in.bias = Tensor::full({1, 1, 33, 40}, shift, DType::kF64);
    check_roads(s, DType::kF16, in);
  }
}

TEST_CASE("heads wider than any card's tensor cores, and wider than is known") {
  const Sizes wide{2, 2, 9, 35, 256, true};
  const Inputs in = make(wide, DType::kF32);
  const Outcome want = run(in, DType::kF64, DType::kF64, Road::kCpu);
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    compare(name_of(dtype), run(in, dtype, dtype, Road::kRows), want, dtype);
  }
  const Inputs wider = make({1, 1, 3, 3, 257}, DType::kF32);
  CHECK_THROWS_WITH(run(wider, DType::kF32, DType::kF32, Road::kRows), Catch::Contains("257"));
}

TEST_CASE(
    "heads whose rows fit into 48 KB of shared memory, but not with the weights beside them") {
  // By rows f32 takes (256 + 32) d + 256 bytes forward, (256 + 64) d + 256 back, f64 twice that;
  // the weights 1 KB and 2 KB.
  for (const auto& [dtype, d] : {std::pair<DType, int64_t>{DType::kF32, 168},
                                 {DType::kF32, 151},
                                 {DType::kF64, 83},
                                 {DType::kF64, 75}}) {
    const Inputs in = make({1, 2, 9, 35, d, true}, dtype);
    const Outcome want = run(in, DType::kF64, DType::kF64, Road::kCpu);
    compare(fmt::format("{} {}", name_of(dtype), d), run(in, dtype, dtype, Road::kRows), want,
            dtype);
  }
}

TEST_CASE("every run gives the same bits") {
  const Sizes s{18, 2, 33, 65, 32, true};
  const Inputs in = make(s, DType::kBF16);
  const Outcome first = run(in, DType::kBF16, DType::kF32, Road::kTiles);
  for (int turn = 0; turn < 2; ++turn) {
    CHECK(run(in, DType::kBF16, DType::kF32, Road::kTiles).all == first.all);
  }
}

TEST_CASE("which road is taken") {
  const auto takes = [](DType dtype, int64_t n, int64_t m, int64_t d) {
    const Tensor q = Tensor::empty({1, 1, n, d}, dtype), k = Tensor::empty({1, 1, m, d}, dtype);
    AttentionArgs args;
    args.q = q.view();
    args.k = args.v = k.view();
    return cuda::takes_tiles(args);
  };
  CHECK(takes(DType::kBF16, 197, 197, 64));
  CHECK(takes(DType::kF16, 257, 257, 64));
  CHECK(takes(DType::kF16, 50, 50, 128));
  CHECK_FALSE(takes(DType::kBF16, 197, 197, 129));
  CHECK_FALSE(takes(DType::kBF16, 5000, 16, 64));
  CHECK_FALSE(takes(DType::kBF16, 16, 5000, 64));
  CHECK_FALSE(takes(DType::kF32, 50, 50, 64));
  CHECK_FALSE(takes(DType::kF64, 50, 50, 64));
}

}  // namespace
}  // namespace tessera
