// Batch norm: statistics of the batch in training, running ones outside, updates as PyTorch's.
#include <catch2/catch.hpp>
#include <cmath>

#include "engine/raw.h"
#include "nn/layers.h"

namespace tessera {
namespace {

TEST_CASE("batch norm follows mean and unbiased variance and uses them outside training") {
  const int n = 6, channels = 3, pixels = 4;
  const Tensor x = raw::normal({n, channels, 2, 2}, {1, 0, 0}, 2, 3);
  const auto xs = x.to_vector<float>();
  std::vector<double> mean(channels, 0.0), var(channels, 0.0);
  const auto at = [&](int i, int c, int p) { return double(xs[(i * channels + c) * pixels + p]); };
  for (int c = 0; c < channels; ++c) {
    for (int i = 0; i < n; ++i) {
      for (int p = 0; p < pixels; ++p) mean[c] += at(i, c, p) / (n * pixels);
    }
    for (int i = 0; i < n; ++i) {
      for (int p = 0; p < pixels; ++p) var[c] += std::pow(at(i, c, p) - mean[c], 2) / (n * pixels);
    }
  }

  const bool affine = GENERATE(true, false);
  const double eps = 1e-5, momentum = 0.1, unbiased = double(n * pixels) / (n * pixels - 1);
  BatchNorm layer(channels, eps, momentum, affine);
  if (affine) {
    layer.visit([&](const std::string& name, Tensor& t, StateKind) {
      if (name == "weight") raw::fill_(t, 2);
      if (name == "bias") raw::fill_(t, 0.5);
    });
  }
  const double scale = affine ? 2 : 1, shift = affine ? 0.5 : 0;
  const auto expect = [&](const Tensor& y, const std::vector<double>& m,
                          const std::vector<double>& v) {
    const auto ys = y.to_vector<float>();
    for (int i = 0; i < n; ++i) {
      for (int c = 0; c < channels; ++c) {
        for (int p = 0; p < pixels; ++p) {
          const double want = (at(i, c, p) - m[c]) / std::sqrt(v[c] + eps) * scale + shift;
          CHECK(ys[(i * channels + c) * pixels + p] == Approx(want).margin(1e-5));
        }
      }
    }
  };
  expect(layer(x), mean, var);

  std::vector<double> running_mean, running_var;
  for (int c = 0; c < channels; ++c) {
    running_mean.push_back(momentum * mean[c]);
    running_var.push_back((1 - momentum) + momentum * unbiased * var[c]);
  }
  for (const auto& [name, tensor] : layer.state_dict()) {
    if (name == "num_batches_tracked") CHECK(tensor.to_vector<int64_t>()[0] == 1);
    for (int c = 0; c < channels; ++c) {
      if (name == "running_mean") CHECK(tensor.to_vector<float>()[c] == Approx(running_mean[c]));
      if (name == "running_var") CHECK(tensor.to_vector<float>()[c] == Approx(running_var[c]));
    }
  }
  layer.set_training(false);
  expect(layer(x), running_mean, running_var);
  for (const auto& [name, tensor] : layer.state_dict()) {
    if (name == "num_batches_tracked") CHECK(tensor.to_vector<int64_t>()[0] == 1);
  }
  CHECK(layer.state_dict().size() == (affine ? 5u : 3u));
}

TEST_CASE("batch norm refuses a batch without variance and wrong channels") {
  BatchNorm layer(3);
  CHECK_THROWS_WITH(layer(Tensor::zeros({1, 3})), Catch::Contains("more than one value"));
  CHECK_THROWS_WITH(layer(Tensor::zeros({2, 4})), Catch::Contains("3 channels"));
}

}  // namespace
}  // namespace tessera
