// The matrix that is only for looking at is the one the fused operation uses.
#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "nn/transformer.h"

namespace tessera {
namespace {

// Random f64 weights everywhere.
void randomize(Module& module) {
  uint32_t index = 0;
  module.visit([&](const std::string&, Tensor& t, StateKind kind) {
    if (kind == StateKind::kBuffer) return;
    t = raw::uniform(t.shape(), {7, index++, 2000}, -1, 1, DType::kF64);
    set_requires_grad(t);
  });
}

Tensor parameter(const Module& module, const std::string& name) {
  for (const auto& [have, tensor] : module.named_parameters()) {
    if (have == name) return tensor;
  }
  return {};
}

// What the layer must give when its own values are weighed by its own probabilities.
Tensor weighed(const Module& layer, const Tensor& x, const Tensor& probabilities, int64_t heads,
               int64_t width) {
  const int64_t batch = x.size(0), tokens = x.size(1), all = heads * width;
  const Tensor weight = slice(parameter(layer, "qkv.weight"), 0, 2 * all, 3 * all);
  const Tensor whole = parameter(layer, "qkv.bias");
  const Tensor bias =
      whole.defined() ? slice(whole, 0, 2 * all, 3 * all) : parameter(layer, "v_bias");
  const Tensor v = permute(reshape(linear(x, weight, bias), {batch, tokens, heads, width}),
                           {0, 2, 1, 3});  // (B, H, N, d)
  const Tensor mixed =
      reshape(permute(matmul(probabilities, v), {0, 2, 1, 3}), {batch, tokens, all});
  return linear(mixed, parameter(layer, "proj.weight"), parameter(layer, "proj.bias"));
}

void check_close(const Tensor& have, const Tensor& want) {
  REQUIRE(have.shape() == want.shape());
  const auto h = have.to_vector<double>(), w = want.to_vector<double>();
  for (size_t i = 0; i < w.size(); ++i) CHECK(h[i] == Approx(w[i]).epsilon(1e-12).margin(1e-12));
}

TEST_CASE("probabilities times values is what attention gives, for every kind of block") {
  const Grid grid = {2, 3};
  const int64_t tokens = 1 + grid.patches();
  const Tensor shared = raw::uniform({3, tokens, tokens}, {5, 0, 2000}, -2, 2, DType::kF64);
  struct Case {
    BlockOptions options;
    Tensor bias;
  };
  const std::vector<Case> cases = {
      {{.dim = 12, .heads = 3}, {}},
      {{.dim = 12, .heads = 3}, shared},
      {{.dim = 12, .heads = 3, .head_dim = 5, .qkv_bias = QkvBias::kQueryValue}, shared},
      {{.dim = 12, .heads = 3, .qkv_bias = QkvBias::kQueryValue, .relative_grid = grid}, {}}};
  const Tensor x = raw::uniform({2, tokens, 12}, {3, 0, 2000}, -2, 2, DType::kF64);
  const NoGrad no_grad;
  for (const Case& c : cases) {
    MultiHeadAttention layer(c.options);
    randomize(layer);
    const Tensor probabilities = layer.probabilities(x, c.bias);
    REQUIRE(probabilities.shape() == Shape{2, 3, tokens, tokens});
    for (const double sum : sum(probabilities, {3}).to_vector<double>()) {
      CHECK(sum == Approx(1).epsilon(1e-12));
    }
    const int64_t width = c.options.head_dim > 0 ? c.options.head_dim : 4;
    check_close(weighed(layer, x, probabilities, 3, width), layer(x, c.bias));
  }
}

TEST_CASE("a block's probabilities are its attention's on what its first norm gives") {
  TransformerBlock block({.dim = 8, .heads = 2, .mlp_hidden = 16});
  randomize(block);
  MultiHeadAttention layer({.dim = 8, .heads = 2});
  layer.visit(
      [&](const std::string& name, Tensor& t, StateKind) { t = parameter(block, "attn." + name); });
  const NoGrad no_grad;
  const Tensor x = raw::uniform({1, 5, 8}, {4, 0, 2000}, -3, 3, DType::kF64);
  const Tensor normed =
      layer_norm(x, parameter(block, "norm1.weight"), parameter(block, "norm1.bias"), 1e-6);
  check_close(block.attention_probabilities(x), layer.probabilities(normed));
}

}  // namespace
}  // namespace tessera
