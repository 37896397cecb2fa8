// Compound ops against the plain ones they are made of: values and every gradient, in f64. Ops that
// are held to their composition bit by bit are in fused_bits_test.cc.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

// Both on the same inputs and the same upstream gradient, within 1e-12 of the largest.
void check_same(const std::vector<Shape>& shapes, const Function& compound,
                const Function& composed) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    inputs.push_back(
        raw::normal(shapes[i], RandomKey{3, 0, static_cast<uint32_t>(i)}, 0, 1, DType::kF64));
    set_requires_grad(inputs.back());
  }
  std::vector<std::vector<double>> results[2];
  for (const Function* f : {&compound, &composed}) {
    const Tensor y = (*f)(inputs);
    backward(y, raw::normal(y.shape(), RandomKey{4, 0, 0}, 0, 1, DType::kF64));
    auto& result = results[f == &composed];
    result.push_back(y.to_vector<double>());
    for (const Tensor& x : inputs) {
      result.push_back(grad(x).to_vector<double>());
      zero_grad(x);
    }
  }
  for (size_t i = 0; i < results[0].size(); ++i) {
    double worst = 0, scale = 1;
    REQUIRE(results[0][i].size() == results[1][i].size());
    for (size_t k = 0; k < results[0][i].size(); ++k) {
      const double error = std::fabs(results[0][i][k] - results[1][i][k]);
      if (ops_test::is_worse(error, worst)) worst = error;
      scale = std::max(scale, std::fabs(results[1][i][k]));
    }
    INFO((i == 0 ? std::string("result") : "gradient " + std::to_string(i - 1)));
    CHECK(worst <= 1e-12 * scale);
  }
}

TEST_CASE("linear is a product and a sum") {
  check_same(
      {{3, 5, 7}, {4, 7}, {4}}, [](const auto& in) { return linear(in[0], in[1], in[2]); },
      [](const auto& in) { return matmul(in[0], transpose(in[1], 0, 1)) + in[2]; });
}

// A layer of so many outputs keeps not its input but what that is made of (Saved::or_maker); its
// parts, each too narrow for that, keep it.
TEST_CASE("an input that is made again gives the gradients of one that is kept") {
  const int64_t wide = kMadeAgainFrom, half = wide / 2;
  const auto whole = [](const Tensor& x, const Tensor& w) { return linear(x, w); };
  const auto parts = [=](const Tensor& x, const Tensor& w) {
    return cat({linear(x, slice(w, 0, 0, half)), linear(x, slice(w, 0, half, wide))}, -1);
  };
  const std::vector<Shape> shapes = {{3, 9, 16}, {16}, {wide, 16}, {16}};
  const auto after_gelu = [](const auto& layer) {
    return [&layer](const auto& in) { return layer(bias_gelu(in[0], in[1]), in[2]); };
  };
  const auto after_norm = [](const auto& layer) {
    return [&layer](const auto& in) { return layer(layer_norm(in[0], in[1], in[3], 1e-6), in[2]); };
  };
  check_same({shapes[0], shapes[1], shapes[2]}, after_gelu(whole), after_gelu(parts));
  check_same(shapes, after_norm(whole), after_norm(parts));

  // And it is not kept.
  const Tensor x = Tensor::full({64, 256}, 0.5), b = Tensor::zeros({256});
  for (const Tensor& t : {x, b}) set_requires_grad(t);
  const auto kept_by = [&](int64_t outputs) {
    const Tensor w = Tensor::full({outputs, 256}, 0.1);
    set_requires_grad(w);
    const CachingAllocator& allocator = backend(Device::kCpu).allocator();
    const size_t before = allocator.stats().live_bytes;
    const Tensor y = linear(bias_gelu(x, b), w);
    const size_t result = CachingAllocator::size_class(static_cast<size_t>(y.numel()) * 4);
    return allocator.stats().live_bytes - before - result;
  };
  CHECK(kept_by(wide) + 64 * 256 * 4 <= kept_by(wide - 1));
}

// Kernels work in tiles of 32 queries and keys: less than one, two and a rest, a picture's.
TEST_CASE("attention is two products around a softmax") {
  struct Size {
    int64_t batch, heads, queries, keys, width;
  };
  for (const Size& s :
       {Size{2, 3, 17, 19, 8}, {2, 3, 65, 65, 24}, {1, 2, 33, 65, 8}, {1, 2, 197, 197, 64}}) {
    const double scale = 1 / std::sqrt(double(s.width));
    const Shape keys = {s.batch, s.heads, s.keys, s.width};
    const std::vector<Shape> plain = {{s.batch, s.heads, s.queries, s.width}, keys, keys};
    std::vector<Shape> with_bias = plain;
    with_bias.push_back({1, s.heads, s.queries, s.keys});
    for (const std::vector<Shape>& shapes : {plain, with_bias}) {
      const bool bias = shapes.size() == 4;
      INFO(s.queries << " queries, " << s.keys << " keys" << (bias ? ", with a bias" : ""));
      check_same(
          shapes,
          [=](const auto& in) {
            return attention(in[0], in[1], in[2], bias ? in[3] : Tensor(), scale);
          },
          [=](const auto& in) {
            const Tensor scores = matmul(in[0], transpose(in[1], -1, -2)) * scale;
            return matmul(softmax(bias ? scores + in[3] : scores, -1), in[2]);
          });
    }
  }
}

TEST_CASE("attention on strided views of one product, as a transformer calls it") {
  const auto split = [](const Tensor& qkv, int64_t which) {  // (B, N, 3, H, d) -> (B, H, N, d)
    return transpose(select(qkv, 2, which), 1, 2);
  };
  check_same(
      {{2, 5, 3, 2, 4}},
      [&](const auto& in) {
        const std::vector<Tensor> qkv = unbind(permute(in[0], {2, 0, 3, 1, 4}), 0);
        return attention(qkv[0], qkv[1], qkv[2], {}, 0.5);
      },
      [&](const auto& in) {
        const Tensor q = split(in[0], 0), k = split(in[0], 1), v = split(in[0], 2);
        return matmul(softmax(matmul(q, transpose(k, 2, 3)) * 0.5, -1), v);
      });
}

TEST_CASE("layer norm is a mean, a variance and two affine steps") {
  check_same(
      {{4, 6, 10}, {10}, {10}},
      [](const auto& in) { return layer_norm(in[0], in[1], in[2], 1e-5); },
      [](const auto& in) {
        const Tensor centred = in[0] - mean(in[0], {-1}, true);
        const Tensor deviation = rsqrt(var(in[0], {-1}, true, false) + 1e-5);
        return centred * deviation * in[1] + in[2];
      });
}

TEST_CASE("softmax and its logarithm are exponentials and sums") {
  check_same(
      {{3, 4, 5}}, [](const auto& in) { return softmax(in[0], 1); },
      [](const auto& in) {
        const Tensor e = exp(in[0]);
        return e / sum(e, {1}, true);
      });
  check_same(
      {{3, 4, 5}}, [](const auto& in) { return log_softmax(in[0], -1); },
      [](const auto& in) { return in[0] - log(sum(exp(in[0]), {-1}, true)); });
}

TEST_CASE("cross entropy is a log-softmax and a gather") {
  const Tensor labels = Tensor::from(std::vector<int64_t>{2, 0, 4, 2, 1, 3}, {6});
  check_same(
      {{6, 5}}, [=](const auto& in) { return cross_entropy(in[0], labels, 0.1, 3); },
      [=](const auto& in) {
        const Tensor logs = log_softmax(in[0], 1);
        const Tensor picked = gather(logs, 1, raw::reshape(labels, {6, 1}));
        const Tensor row = picked * 0.9 + mean(logs, {1}, true) * 0.1;  // (6, 1)
        const Tensor counted =
            raw::to(raw::compare(CompareOp::kNotEqual, labels, Tensor::full({}, 3, DType::kI64)),
                    DType::kF64);
        return -(sum(reshape(row, {6}) * counted) / 5);
      });
}

TEST_CASE("gelu is x times the normal distribution's integral") {
  check_same(
      {{50}}, [](const auto& in) { return gelu(in[0]); },
      [](const auto& in) { return in[0] * (erf(in[0] * std::sqrt(0.5)) + 1) * 0.5; });
}

TEST_CASE("a convolution with kernel and stride of one size is a product of patches") {
  check_same(
      {{2, 3, 8, 12}, {5, 3, 4, 4}, {5}},
      [](const auto& in) { return conv2d(in[0], in[1], in[2], 4); },
      [](const auto& in) {
        const Tensor patches = unfold_patches(in[0], 4);  // (B, L, p p C)
        const Tensor w = reshape(permute(in[1], {0, 2, 3, 1}), {5, 48});
        const Tensor y = linear(patches, w, in[2]);  // (B, L, O)
        return reshape(transpose(y, 1, 2), {2, 5, 2, 3});
      });
}

TEST_CASE("a transposed convolution is a convolution's gradient") {
  const Shape x{2, 3, 5, 4}, w{3, 2, 3, 3};
  const Tensor picture = raw::normal({2, 2, 11, 9}, RandomKey{5, 0, 0}, 0, 1, DType::kF64);
  const Tensor weight = raw::normal(w, RandomKey{5, 0, 1}, 0, 1, DType::kF64);
  const Tensor dy = raw::normal(x, RandomKey{5, 0, 2}, 0, 1, DType::kF64);
  set_requires_grad(picture);
  backward(conv2d(picture, weight, {}, 2), dy);
  const std::vector<double> have = conv_transpose2d(dy, weight, {}, 2).to_vector<double>();
  const std::vector<double> want = grad(picture).to_vector<double>();
  REQUIRE(have.size() == want.size());
  for (size_t i = 0; i < have.size(); ++i) CHECK(have[i] == Approx(want[i]).margin(1e-12));
}

}  // namespace
}  // namespace tessera
