// What is asked of a vendor's products alone: TF32 where it is allowed, and that the library takes
// every product of a real model. On the emulator, whose products are the CPU's, the bounds hold and
// the rest says nothing.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "cuda/vendor.h"
#include "engine/raw.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

Tensor random(const Shape& shape, uint32_t site) {
  return raw::normal(shape, RandomKey{9, 0, site});
}

bool on_card() { return backend(Device::kCuda).describe().find("emulator") == std::string::npos; }

TEST_CASE("products use TF32 where it is allowed and nowhere else") {
  struct Size {
    int64_t m, k, n;
    bool must_show;  // else a library may go on in f32: rows here are no multiples of 16 bytes
  };
  for (const Size& s : {Size{64, 33, 48, false},
                        {64, 257, 48, false},
                        {64, 1030, 48, false},
                        {256, 1024, 256, true}}) {
    const Tensor a = random({s.m, s.k}, 1), b = random({s.k, s.n}, 2);
    const auto absolute = [](const Tensor& x) {
      return raw::unary(UnaryOp::kAbs, raw::to(x, DType::kF64));
    };
    const auto wide = [](const Tensor& x) { return raw::to(x, DType::kF64); };
    const auto want = raw::matmul(wide(a), wide(b)).to_vector<double>();
    const auto sizes = raw::matmul(absolute(a), absolute(b)).to_vector<double>();
    const auto share_of = [&](double rounding) {
      const Tensor c = raw::matmul(raw::to(a, Device::kCuda), raw::to(b, Device::kCuda));
      const auto have = wide(raw::to(c, Device::kCpu)).to_vector<double>();
      double worst = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        const double share = std::fabs(have[i] - want[i]) / (rounding * sizes[i]);
        if (ops_test::is_worse(share, worst)) worst = share;
      }
      return worst;
    };
    INFO(s.m << " x " << s.k << " x " << s.n);
    const double sum = 4 * std::sqrt(double(s.k)) * 0x1p-24;
    CHECK(share_of(sum) <= 1);
    {
      const Tf32 tf32(true);
      CHECK(share_of(2 * 0x1p-11 + sum) <= 1);  // two factors, each rounded to 11 bits
      if (s.must_show && on_card()) CHECK(share_of(sum) > 1);
      const Tf32 exact(false);
      CHECK(share_of(sum) <= 1);
    }
    CHECK(share_of(sum) <= 1);
  }
}

// A linear layer's three products as autograd asks for them; weights' gradients are summed in f32.
void run_layer(int64_t rows, int64_t in, int64_t out, DType dtype) {
  const auto zeros = [&](const Shape& shape, DType type) {
    return Tensor::zeros(shape, type, Device::kCuda);
  };
  const Tensor x = zeros({rows, in}, dtype), w = zeros({out, in}, dtype);
  for (const Tensor& bias : {Tensor(), zeros({out}, DType::kF32), zeros({out}, dtype)}) {
    raw::linear(x, w, bias);
  }
  const Tensor dy = zeros({rows, out}, dtype), dw = zeros({out, in}, DType::kF32);
  raw::gemm_into(dy, w, zeros({rows, in}, dtype), 0);
  for (const double beta : {0.0, 1.0}) raw::gemm_into(raw::transpose(dy, 0, 1), x, dw, beta);
}

// Its patches, qkv, projection, the two layers of an MLP and 1000 classes, of 196 patches and a
// class token; MAE's encoder sees 50 of them. Eight pictures: what the library can do does not
// depend on their number, and compute-sanitizer runs this, too.
TEST_CASE("the library takes every product of a ViT-B step") {
  if (!on_card()) return;
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    for (const int64_t rows : {8 * 197, 8 * 50, 8}) {
      for (const auto& [in, out] : {std::pair<int64_t, int64_t>{768, 768},
                                    {768, 2304},
                                    {768, 3072},
                                    {3072, 768},
                                    {768, 1000}}) {
        const int64_t before = cuda::vendor::own_products();
        run_layer(rows, in, out, dtype);
        INFO(name_of(dtype) << ", " << rows << " rows, " << in << " to " << out);
        CHECK(cuda::vendor::own_products() == before);
      }
    }
  }
}

}  // namespace
}  // namespace tessera
