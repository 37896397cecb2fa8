// Patch vectors against conv2d, and what the sin-cos table is known by.
#include "nn/patch_embed.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/functions.h"
#include "engine/raw.h"
#include "nn/init.h"

namespace tessera {
namespace {

TEST_CASE("embedding patch vectors equals the convolution, for any grid and channel count") {
  const int64_t channels = GENERATE(1, 3, 4);
  const int64_t patch = 4, dim = 6, height = 8, width = 20;
  const Tensor imgs = raw::uniform({2, channels, height, width}, {1, 0, 0}, -1, 1);
  PatchEmbed embed(channels, patch, dim);
  Tensor weight, bias;
  embed.visit([&](const std::string& name, Tensor& t, StateKind) {
    init::uniform_(t, init::weight_key(2, name == "proj.bias"), -1, 1);
    (name == "proj.bias" ? bias : weight) = t;
  });
  CHECK(weight.shape() == Shape{dim, channels, patch, patch});
  const Tensor convolved = conv2d(imgs, weight, bias, patch);               // (B, D, 2, 5)
  const Tensor tokens = transpose(reshape(convolved, {2, dim, 10}), 1, 2);  // (B, L, D)
  const auto want = tokens.to_vector<float>();
  const auto have = embed(patch_vectors(imgs, patch)).to_vector<float>();
  REQUIRE(have.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) CHECK(have[i] == Approx(want[i]).margin(1e-5));
}

TEST_CASE("the sin-cos table encodes the column first and leaves the class token zero") {
  const int64_t dim = 16, height = 3, width = 5;
  const Tensor table = sincos_positions(dim, height, width);
  REQUIRE(table.shape() == Shape{1, 16, dim});
  const auto v = table.to_vector<float>();
  for (int64_t i = 0; i < dim; ++i) CHECK(v[i] == 0);
  const auto at = [&](int64_t y, int64_t x, int64_t i) { return v[(1 + y * width + x) * dim + i]; };
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t i = 0; i < 4; ++i) {
        const double w = std::pow(10000.0, -double(i) / 4);
        CHECK(at(y, x, i) == float(std::sin(double(x) * w)));
        CHECK(at(y, x, 4 + i) == float(std::cos(double(x) * w)));
        CHECK(at(y, x, 8 + i) == float(std::sin(double(y) * w)));
        CHECK(at(y, x, 12 + i) == float(std::cos(double(y) * w)));
      }
    }
  }
  // The lowest frequency of w_0 = 1: one step to the right is a step of one radian.
  CHECK(at(0, 1, 0) == Approx(std::sin(1.0)));
  CHECK(at(1, 0, 0) == 0);
  CHECK_THROWS_WITH(sincos_positions(18, 2, 2), Catch::Contains("18"));
}

}  // namespace
}  // namespace tessera
