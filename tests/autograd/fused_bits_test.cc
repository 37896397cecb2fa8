// Fused ops give the bits of the compositions they replace, results and gradients, in f32 and f64
// and as a step under autocast calls them, on default_device(): at sizes round a warp, a chunk of
// rows, a block of columns and the longest row of a warp. What differs is named where it does: in
// 16 bits a fused op rounds once, at its end.
#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int64_t kRows[] = {1, 31, 33, 197, 257};
constexpr int64_t kWidths[] = {1, 7, 96, 192, 768, 1025};

using Tensors = std::vector<Tensor>;
using Function = std::function<Tensor(const Tensors&)>;

Tensor random(const Shape& shape, DType dtype, uint32_t site) {
  const Tensor t = raw::normal(shape, RandomKey{5, 0, site}, 0, 1, DType::kF64);
  return raw::to(raw::to(t, dtype), default_device());
}

// The result, then the gradients of the floating inputs.
std::vector<std::vector<double>> outcome(const Function& f, const Tensors& inputs) {
  const auto values = [](const Tensor& t) { return raw::to(t, DType::kF64).to_vector<double>(); };
  Tensors leaves;
  for (const Tensor& x : inputs) {
    leaves.push_back(x.detach());
    if (is_floating(x.dtype())) set_requires_grad(leaves.back());
  }
  const Tensor y = f(leaves);
  std::vector<std::vector<double>> all = {values(y.detach())};
  backward(y, random(y.shape(), y.dtype(), 99));
  for (const Tensor& x : leaves) {
    if (is_floating(x.dtype())) all.push_back(values(grad(x)));
  }
  return all;
}

void check_same_bits(const std::string& what, const Function& fused, const Function& composed,
                     const Tensors& inputs) {
  const auto have = outcome(fused, inputs), want = outcome(composed, inputs);
  for (size_t k = 0; k < want.size(); ++k) {
    INFO(what << (k == 0 ? ", result" : ", gradient " + std::to_string(k - 1)));
    CHECK(have[k] == want[k]);
  }
}

template <class Check>
void each_size(Check check) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    for (const int64_t rows : kRows) {
      for (const int64_t width : kWidths) {
        check(fmt::format("{} ({}, {})", name_of(dtype), rows, width), dtype, rows, width);
      }
    }
  }
}

// What a block makes of the stream: both results are read, so that two gradients meet.
Tensor joined(const NormedSum& s, const Tensor& weight) {
  return s.sum * weight + to(s.normed, s.sum.dtype());
}

TEST_CASE("add_layer_norm is an addition and a layer norm") {
  const auto fused = [](const Tensors& in) {
    return joined(add_layer_norm(in[0], in[1], in[2], in[3], 1e-6), in[4]);
  };
  const auto composed = [](const Tensors& in) {
    const Tensor sum = in[0] + in[1];
    return joined({sum, layer_norm(sum, in[2], in[3], 1e-6)}, in[4]);
  };
  const auto inputs = [](DType stream, DType branch, int64_t rows, int64_t width) {
    return Tensors{random({rows, width}, stream, 1), random({rows, width}, branch, 2),
                   random({width}, stream, 3), random({width}, stream, 4),
                   random({rows, width}, stream, 5)};
  };
  each_size([&](const std::string& what, DType dtype, int64_t rows, int64_t width) {
    check_same_bits(what, fused, composed, inputs(dtype, dtype, rows, width));
  });
  for (const DType low : {DType::kBF16, DType::kF16}) {
    const Autocast autocast(low);
    for (const int64_t width : kWidths) {
      check_same_bits(fmt::format("autocast {} ({},)", name_of(low), width), fused, composed,
                      inputs(DType::kF32, low, 67, width));
    }
  }
}

// One column alone is summed as a row, in another order: at a width of 1 the bias's gradient may
// differ in the last place, and is left to the op table.
TEST_CASE("bias_gelu is an addition and a gelu") {
  each_size([&](const std::string& what, DType dtype, int64_t rows, int64_t width) {
    if (width == 1) return;
    check_same_bits(
        what, [](const Tensors& in) { return bias_gelu(in[0], in[1]); },
        [](const Tensors& in) { return gelu(in[0] + in[1]); },
        {random({rows, width}, dtype, 1), random({width}, dtype, 2)});
  });
}

// A 16-bit product's rows and an f32 bias, as under autocast, or one of 16 bits. The composition
// that rounds its sum to 16 bits as well is less exact, and other bits.
TEST_CASE("bias_gelu of 16 bits is the addition and the gelu in f32, rounded once") {
  for (const DType low : {DType::kBF16, DType::kF16}) {
    for (const DType bias : {DType::kF32, low}) {
      for (const int64_t width : kWidths) {
        if (width == 1) continue;
        check_same_bits(
            fmt::format("{} and {} ({},)", name_of(low), name_of(bias), width),
            [](const Tensors& in) { return bias_gelu(in[0], in[1]); },
            [&](const Tensors& in) {
              return to(gelu(to(in[0], DType::kF32) + to(in[1], DType::kF32)), low);
            },
            {random({67, width}, low, 1), random({width}, bias, 2)});
      }
    }
  }
}

// On the CPU alone: a library on a device may take another algorithm for a product with a bias.
TEST_CASE(
    "a product, bias_gelu and a product are the bits of an MLP with its bias in the product") {
  if (default_device() != Device::kCpu) return;
  const Tensors inputs = {random({197, 192}, DType::kF32, 1), random({768, 192}, DType::kF32, 2),
                          random({768}, DType::kF32, 3), random({192, 768}, DType::kF32, 4)};
  check_same_bits(
      "f32",
      [](const Tensors& in) { return linear(bias_gelu(linear(in[0], in[1]), in[2]), in[3]); },
      [](const Tensors& in) { return linear(gelu(linear(in[0], in[1], in[2])), in[3]); }, inputs);
}

Tensor indices(const Shape& shape, const std::function<int64_t(int64_t b, int64_t t)>& value) {
  std::vector<int64_t> all;
  for (int64_t b = 0; b < shape[0]; ++b) {
    for (int64_t t = 0; t < shape[1]; ++t) all.push_back(value(b, t));
  }
  return Tensor::from(all, shape, default_device());
}

// Inputs: x, the extra row, positions, source, place.
Tensor composed_tokens(const Tensors& in) {
  const Tensor extra = expand(reshape(in[1], {1, 1, -1}), {in[0].size(0), 1, in[0].size(2)});
  return take_rows(cat({in[0], extra}, 1), in[3]) + embedding(in[2], in[4]);
}
Tensor fused_tokens(const Tensors& in) { return place_tokens(in[0], in[1], in[3], in[2], in[4]); }

TEST_CASE("place_tokens is a row more, two gathers and an addition") {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    for (const int64_t tokens : kRows) {
      for (const int64_t width : kWidths) {
        // Rows of x and the extra one several times, and the same positions again.
        check_same_bits(
            fmt::format("{} ({}, {})", name_of(dtype), tokens, width), fused_tokens,
            composed_tokens,
            {random({3, 13, width}, dtype, 1), random({width}, dtype, 2),
             random({29, width}, dtype, 3),
             indices({3, tokens}, [](int64_t b, int64_t t) { return (b + t * t) % 14; }),
             indices({3, tokens}, [](int64_t b, int64_t t) { return (7 * b + 3 * t) % 29; })});
      }
    }
  }
}

TEST_CASE("place_tokens as an encoder and a decoder call it") {
  constexpr int64_t kBatch = 3, kRowsOfX = 13, kWidth = 96;
  const auto inputs = [&](DType low, const std::function<int64_t(int64_t, int64_t)>& source) {
    return Tensors{random({kBatch, kRowsOfX, kWidth}, low, 1), random({kWidth}, DType::kF32, 2),
                   random({1 + kRowsOfX, kWidth}, DType::kF32, 3),
                   indices({kBatch, 1 + kRowsOfX}, source),
                   indices({kBatch, 1 + kRowsOfX}, [](int64_t, int64_t t) { return t; })};
  };
  const auto in_turn = [](int64_t, int64_t t) { return t == 0 ? kRowsOfX : t - 1; };
  // Each row once: one that 16 bits hold is summed there, where the composition sums in f32.
  const auto shuffled = [](int64_t b, int64_t t) { return (5 * t + b) % (1 + kRowsOfX); };
  for (const DType low : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Autocast autocast(low);
    const std::string name = name_of(low);
    check_same_bits(
        "encoder " + name,
        [](const Tensors& in) { return place_tokens(in[0], in[1], {}, in[2], in[4]); },
        composed_tokens, inputs(low, in_turn));
    check_same_bits(
        "in turn and in place " + name,
        [](const Tensors& in) { return place_tokens(in[0], in[1], {}, in[2], {}); },
        composed_tokens, inputs(low, in_turn));
    check_same_bits(
        "decoder " + name,
        [](const Tensors& in) { return place_tokens(in[0], in[1], in[3], in[2], {}); },
        composed_tokens, inputs(low, shuffled));
  }
}

// The loss is the sum of the patches' sums, the composition's one sum over everything: it may
// differ in the last places, the gradient may not.
TEST_CASE("patch_loss is patches cut out, chosen and subtracted, and a mean square") {
  struct Size {
    int64_t channels, height, width, patch, listed;
  };
  for (const Size& s : {Size{1, 1, 1, 1, 1}, Size{3, 8, 20, 4, 7}, Size{1, 14, 14, 7, 31},
                        Size{3, 64, 32, 16, 5}, Size{3, 76, 38, 19, 3}}) {
    for (const DType dtype : {DType::kF32, DType::kF64}) {
      for (const bool normalise : {false, true}) {
        const int64_t values = s.patch * s.patch * s.channels;
        if (normalise && values == 1) continue;  // no deviation
        const int64_t patches = s.height / s.patch * (s.width / s.patch);
        const Tensor imgs = random({2, s.channels, s.height, s.width}, dtype, 7);
        const Tensor ids =
            indices({2, s.listed}, [&](int64_t b, int64_t t) { return (b + 3 * t) % patches; });
        const Tensors inputs = {random({2, s.listed, values}, dtype, 8)};
        const auto have = outcome(
            [&](const Tensors& in) { return patch_loss(in[0], imgs, ids, s.patch, normalise); },
            inputs);
        const auto want = outcome(
            [&](const Tensors& in) {
              Tensor wanted = take_rows(unfold_patches(imgs, s.patch), ids);
              if (normalise) {
                wanted = (wanted - mean(wanted, {-1}, true)) / sqrt(var(wanted, {-1}, true) + 1e-6);
              }
              return mse_loss(in[0], wanted);
            },
            inputs);
        INFO(name_of(dtype) << ", " << values << " values" << (normalise ? ", normalised" : ""));
        CHECK(have[0][0] == Approx(want[0][0]).epsilon(dtype == DType::kF32 ? 1e-6 : 1e-14));
        CHECK(have[1] == want[1]);
      }
    }
  }
}

TEST_CASE("patch_vectors is all patches cut out, chosen and rounded") {
  struct Size {
    int64_t channels, height, width, patch, listed;
  };
  for (const Size& s : {Size{1, 1, 1, 1, 1}, Size{3, 8, 20, 4, 7}, Size{1, 14, 14, 7, 31},
                        Size{3, 64, 32, 16, 5}, Size{3, 48, 24, 24, 3}}) {
    const int64_t rows = s.height / s.patch, columns = s.width / s.patch;
    const Tensor imgs = random({2, s.channels, s.height, s.width}, DType::kF32, 7);
    const Tensor ids = indices(
        {2, s.listed}, [&](int64_t b, int64_t t) { return (b + 3 * t) % (rows * columns); });
    const Tensor grid = raw::permute(
        raw::reshape(imgs, {2, s.channels, rows, s.patch, columns, s.patch}), {0, 2, 4, 1, 3, 5});
    const Tensor all = raw::reshape(grid, {2, rows * columns, s.channels * s.patch * s.patch});
    for (const DType low : {DType::kF32, DType::kBF16, DType::kF16}) {
      const Autocast autocast(low);
      INFO(name_of(low) << ", patches of " << s.patch);
      const auto floats = [](const Tensor& t) {
        return raw::to(t, DType::kF32).to_vector<float>();
      };
      const Tensor have = patch_vectors(imgs, s.patch, ids);
      CHECK(have.dtype() == low);
      CHECK(floats(have) == floats(raw::to(raw::take_rows(all, ids), low)));
      CHECK(floats(patch_vectors(imgs, s.patch)) == floats(raw::to(all, low)));
    }
  }
}

}  // namespace
}  // namespace tessera
