// Layers against the formulas they stand for, computed here in plain loops in double.
#include "nn/layers.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "nn/init.h"
#include "nn/step_random.h"
#include "nn/transformer.h"

namespace tessera {
namespace {

// Random f64 weights for every parameter, so that the formulas can be held to 1e-12.
void randomize(Module& module, uint64_t seed) {
  uint32_t index = 0;
  module.visit([&](const std::string&, Tensor& tensor, StateKind) {
    tensor = raw::uniform(tensor.shape(), init::weight_key(seed, index++), -1, 1, DType::kF64);
    set_requires_grad(tensor);
  });
}

std::map<std::string, std::vector<double>> weights_of(const Module& module) {
  std::map<std::string, std::vector<double>> weights;
  for (const auto& [name, tensor] : module.state_dict()) {
    weights[name] = tensor.to_vector<double>();
  }
  return weights;
}

TEST_CASE("linear is x w^T + b, with and without b") {
  for (const bool bias : {true, false}) {
    Linear layer(3, 2, bias);
    randomize(layer, 1);
    const auto w = weights_of(layer);
    const Tensor x = raw::uniform({4, 5, 3}, {9, 0, 0}, -1, 1, DType::kF64);
    const Tensor y = layer(x);
    REQUIRE(y.shape() == Shape{4, 5, 2});
    const auto xs = x.to_vector<double>(), ys = y.to_vector<double>();
    for (int row = 0; row < 20; ++row) {
      for (int o = 0; o < 2; ++o) {
        double sum = bias ? w.at("bias")[o] : 0;
        for (int i = 0; i < 3; ++i) sum += xs[row * 3 + i] * w.at("weight")[o * 3 + i];
        CHECK(ys[row * 2 + o] == Approx(sum).margin(1e-12));
      }
    }
  }
}

// softmax(q k^T / sqrt(d) + bias) v of one head by the definition, rows of qkv ordered q, k, v,
// each (heads, d).
std::vector<double> attention_by_loops(const std::vector<double>& qkv, int n, int heads, int d,
                                       const std::vector<double>& bias) {
  const int dim = heads * d;
  std::vector<double> out(static_cast<size_t>(n * dim), 0.0);
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < n; ++i) {
      std::vector<double> p(static_cast<size_t>(n));
      double total = 0;
      for (int j = 0; j < n; ++j) {
        double dot = 0;
        for (int e = 0; e < d; ++e) {
          dot += qkv[i * 3 * dim + h * d + e] * qkv[j * 3 * dim + dim + h * d + e];
        }
        p[j] = std::exp(dot / std::sqrt(double(d)) + bias[(h * n + i) * n + j]);
        total += p[j];
      }
      for (int j = 0; j < n; ++j) {
        for (int e = 0; e < d; ++e) {
          out[i * dim + h * d + e] += p[j] / total * qkv[j * 3 * dim + 2 * dim + h * d + e];
        }
      }
    }
  }
  return out;
}

TEST_CASE("multi-head attention orders its rows q, k, v and scales by the head's width") {
  const int batch = 2, n = 5, heads = 3, d = 4, dim = heads * d;
  MultiHeadAttention layer({.dim = dim, .heads = heads});
  randomize(layer, 2);
  const auto w = weights_of(layer);
  const Tensor x = raw::uniform({batch, n, dim}, {9, 0, 0}, -1, 1, DType::kF64);
  const Tensor bias = raw::uniform({1, heads, n, n}, {9, 0, 1}, -1, 1, DType::kF64);
  const auto xs = x.to_vector<double>();
  for (const bool biased : {false, true}) {
    const auto y = (biased ? layer(x, bias) : layer(x)).to_vector<double>();
    const auto bs = biased ? bias.to_vector<double>() : std::vector<double>(heads * n * n, 0.0);
    for (int b = 0; b < batch; ++b) {
      std::vector<double> qkv(static_cast<size_t>(n * 3 * dim));
      for (int i = 0; i < n; ++i) {
        for (int o = 0; o < 3 * dim; ++o) {
          double sum = w.at("qkv.bias")[o];
          for (int e = 0; e < dim; ++e) {
            sum += xs[(b * n + i) * dim + e] * w.at("qkv.weight")[o * dim + e];
          }
          qkv[i * 3 * dim + o] = sum;
        }
      }
      const auto mixed = attention_by_loops(qkv, n, heads, d, bs);
      for (int i = 0; i < n; ++i) {
        for (int o = 0; o < dim; ++o) {
          double sum = w.at("proj.bias")[o];
          for (int e = 0; e < dim; ++e) {
            sum += mixed[i * dim + e] * w.at("proj.weight")[o * dim + e];
          }
          CHECK(y[(b * n + i) * dim + o] == Approx(sum).margin(1e-11));
        }
      }
    }
  }
}

TEST_CASE("a block's gradients agree with differences of its value") {
  TransformerBlock block({.dim = 8, .heads = 2, .mlp_hidden = 12, .drop_path = 0.3});
  randomize(block, 3);
  const Tensor x = raw::uniform({6, 3, 8}, {9, 0, 0}, -1, 1, DType::kF64);
  const Tensor weight = raw::uniform({6, 3, 8}, {9, 0, 1}, -1, 1, DType::kF64);
  const auto loss = [&] {
    const StepRandom step(5, 1);  // the same samples are dropped each time
    return sum(block(x) * weight);
  };
  backward(loss());
  for (const auto& [name, tensor] : block.named_parameters()) {
    INFO(name);
    const NoGrad no_grad;
    // Along one random direction for each parameter.
    const Tensor direction = raw::uniform(tensor.shape(), {11, 0, 0}, -1, 1, DType::kF64);
    const double slope = sum(grad(tensor) * direction).item();
    const double step = 1e-6;
    const auto move = [&](double factor) {
      raw::add_(tensor, mul_scalar(direction, factor * step));
    };
    move(1);
    const double above = loss().item();
    move(-2);
    const double below = loss().item();
    move(1);
    // The key third of the qkv bias has no influence at all; the rest has.
    CHECK((above - below) / (2 * step) == Approx(slope).epsilon(1e-6).margin(1e-7));
  }
}

TEST_CASE("dropout and drop path scale what they keep, and rest outside training") {
  const Tensor x = Tensor::full({500, 4}, 1);
  Dropout dropout(0.25);
  DropPath drop_path(0.25);
  const StepRandom step(3, 1);
  int kept = 0;
  for (const float v : dropout(x).to_vector<float>()) {
    CHECK((v == 0 || v == Approx(1 / 0.75)));
    kept += v != 0;
  }
  CHECK(std::abs(kept - 1500) < 5 * std::sqrt(2000 * 0.25 * 0.75));
  const auto paths = drop_path(x).to_vector<float>();
  for (int row = 0; row < 500; ++row) {
    for (int i = 1; i < 4; ++i) CHECK(paths[row * 4 + i] == paths[row * 4]);
  }
  dropout.set_training(false);
  drop_path.set_training(false);
  CHECK(dropout(x).is_same(x));
  CHECK(drop_path(x).is_same(x));
  CHECK_THROWS_AS(Dropout(1), UsageError);
  CHECK_THROWS_AS(DropPath(-0.1), UsageError);
}

TEST_CASE("embedding looks rows up, conv2d has PyTorch's names and shapes") {
  Embedding table(5, 3);
  randomize(table, 4);
  const auto w = weights_of(table).at("weight");
  const auto rows =
      table(Tensor::from<int64_t>(std::vector<int64_t>{4, 0}, {2})).to_vector<double>();
  CHECK(rows == std::vector<double>{w[12], w[13], w[14], w[0], w[1], w[2]});

  const Conv2d conv(4, 6, 3, 2, 1);
  CHECK(conv.weight().shape() == Shape{6, 4, 3, 3});
  CHECK(conv(Tensor::zeros({2, 4, 8, 6})).shape() == Shape{2, 6, 4, 3});
  CHECK_THROWS_WITH(MultiHeadAttention({.dim = 10, .heads = 3}),
                    Catch::Contains("10") && Catch::Contains("3 heads"));
}

}  // namespace
}  // namespace tessera
