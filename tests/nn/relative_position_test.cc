// The table of distances and the block's BEiT variants against the formulas they stand for.
#include "nn/relative_position.h"

#include <catch2/catch.hpp>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "nn/init.h"
#include "nn/transformer.h"
#include "tests/nn/state_of.h"

namespace tessera {
namespace {

void randomize(Module& module, uint64_t seed) {
  uint32_t index = 0;
  module.visit([&](const std::string&, Tensor& tensor, StateKind kind) {
    const RandomKey key = init::weight_key(seed, index++);
    if (kind != StateKind::kBuffer) tensor = raw::uniform(tensor.shape(), key, -1, 1, DType::kF64);
  });
}

void check_equal(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i) REQUIRE(x[i] == Approx(y[i]).margin(1e-12));
}

TEST_CASE("one row of the table for each distance, three for the class token") {
  const Grid grid = {2, 3};
  CHECK(relative_distances(grid) == 3 * 5 + 3);
  const auto index = relative_position_index(grid).to_vector<int64_t>();
  REQUIRE(index.size() == 49);
  CHECK(index[0] == 17);  // class token to itself
  for (int i = 1; i < 7; ++i) {
    CHECK(index[i] == 15);      // class token to patch
    CHECK(index[7 * i] == 16);  // patch to class token
  }
  for (int q = 0; q < 6; ++q) {
    for (int k = 0; k < 6; ++k) {
      const int down = q / 3 - k / 3 + 1, right = q % 3 - k % 3 + 2;
      CHECK(index[7 * (q + 1) + k + 1] == 5 * down + right);
    }
  }
  CHECK(relative_distances({14, 14}) == 732);
  CHECK_THROWS_AS(relative_position_index({0, 3}), Error);
}

TEST_CASE("a bias is the table's row, head by head, and its gradient comes back there") {
  RelativePositionBias bias({2, 2}, 3);
  CHECK(raw::amax(abs(bias()), {}, false).item() == 0);  // starts at zero
  randomize(bias, 1);
  const auto state = state_of(bias);
  const Tensor table = state.at("relative_position_bias_table");
  set_requires_grad(table);
  const auto rows = table.to_vector<double>();
  const auto index = state.at("relative_position_index").to_vector<int64_t>();
  const Tensor out = bias();
  REQUIRE(out.shape() == Shape{3, 5, 5});
  const auto values = out.to_vector<double>();
  std::vector<double> uses(rows.size(), 0.0);
  for (int h = 0; h < 3; ++h) {
    for (int i = 0; i < 25; ++i) {
      CHECK(values[h * 25 + i] == rows[index[i] * 3 + h]);
      uses[index[i] * 3 + h] += 1;
    }
  }
  backward(sum(out));
  CHECK(grad(table).to_vector<double>() == uses);
}

TEST_CASE("biases of q and v are a qkv bias with zeros for k") {
  const int64_t dim = 8;
  BlockOptions options{.dim = dim, .heads = 2, .qkv_bias = QkvBias::kQueryValue};
  MultiHeadAttention two(options);
  randomize(two, 1);
  auto weights = state_of(two);
  CHECK_FALSE(weights.contains("qkv.bias"));
  MultiHeadAttention one({.dim = dim, .heads = 2});
  randomize(one, 2);
  const Tensor zeros = Tensor::zeros({dim}, DType::kF64);
  weights["qkv.bias"] = raw::cat({weights.at("q_bias"), zeros, weights.at("v_bias")}, 0);
  weights.erase("q_bias");
  weights.erase("v_bias");
  one.load_state_dict(weights);
  const Tensor x = raw::uniform({2, 5, dim}, {9, 0, 0}, -1, 1, DType::kF64);
  check_equal(two(x), one(x));

  options.qkv_bias = QkvBias::kNone;
  MultiHeadAttention none(options);
  CHECK(state_of(none).size() == 3);  // qkv.weight, proj
}

TEST_CASE("a block's own relative bias is the shared one for that block alone") {
  const Grid grid = {2, 3};
  MultiHeadAttention own({.dim = 8, .heads = 2, .head_dim = 3, .relative_grid = grid});
  randomize(own, 1);
  auto weights = state_of(own);
  CHECK(weights.at("qkv.weight").shape() == Shape{18, 8});
  CHECK(weights.at("proj.weight").shape() == Shape{8, 6});
  const Tensor bias = relative_position_bias(weights.at("relative_position_bias_table"),
                                             weights.at("relative_position_index"));
  weights.erase("relative_position_bias_table");
  weights.erase("relative_position_index");
  MultiHeadAttention plain({.dim = 8, .heads = 2, .head_dim = 3});
  randomize(plain, 2);
  plain.load_state_dict(weights);
  const Tensor x = raw::uniform({2, 7, 8}, {9, 0, 0}, -1, 1, DType::kF64);
  check_equal(own(x), plain(x, bias));
  const Tensor more = raw::uniform({2, 7, 7}, {9, 0, 1}, -1, 1, DType::kF64);
  check_equal(own(x, more), plain(x, bias + more));
}

TEST_CASE("layer scale multiplies what each half adds") {
  BlockOptions options{.dim = 8, .heads = 2, .mlp_hidden = 12, .layer_scale = 0.25};
  TransformerBlock scaled(options);
  for (const char* name : {"gamma_1", "gamma_2"}) {
    CHECK(state_of(scaled).at(name).to_vector<float>() == std::vector<float>(8, 0.25f));
  }
  randomize(scaled, 1);
  auto weights = state_of(scaled);
  options.layer_scale = 0;
  TransformerBlock plain(options);
  randomize(plain, 2);
  // gamma y is y of a last layer whose rows are scaled.
  for (const auto& [gamma, layer] :
       {std::pair{"gamma_1", "attn.proj"}, std::pair{"gamma_2", "mlp.fc2"}}) {
    const std::string name = layer;
    const Tensor factor = weights.at(gamma);
    weights.erase(gamma);
    weights[name + ".weight"] = weights.at(name + ".weight") * reshape(factor, {8, 1});
    weights[name + ".bias"] = weights.at(name + ".bias") * factor;
  }
  plain.load_state_dict(weights);
  const Tensor x = raw::uniform({2, 5, 8}, {9, 0, 0}, -1, 1, DType::kF64);
  check_equal(scaled(x), plain(x));
}

}  // namespace
}  // namespace tessera
