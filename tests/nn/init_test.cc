// Initial weights: ranges, moments, and the same numbers for the same key.
#include "nn/init.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace tessera {
namespace {

struct Moments {
  double mean = 0, deviation = 0, low = 1e9, high = -1e9;
};

Moments moments_of(const Tensor& t) {
  Moments m;
  const auto values = t.to_vector<float>();
  for (const float v : values) {
    m.mean += v / double(values.size());
    m.low = std::min(m.low, double(v));
    m.high = std::max(m.high, double(v));
  }
  for (const float v : values) m.deviation += std::pow(v - m.mean, 2) / double(values.size());
  m.deviation = std::sqrt(m.deviation);
  return m;
}

TEST_CASE("xavier-uniform takes the first dimension as fan out and the rest as fan in") {
  const Tensor w = Tensor::empty({40, 3, 10, 10});
  init::xavier_uniform_(w, init::weight_key(1, 0));
  const double bound = std::sqrt(6.0 / (40 + 300));
  const Moments m = moments_of(w);
  CHECK(m.high <= bound);
  CHECK(m.low >= -bound);
  CHECK(m.high > 0.999 * bound);
  CHECK(m.low < -0.999 * bound);
  CHECK(m.deviation == Approx(bound / std::sqrt(3.0)).epsilon(0.02));
  CHECK(std::abs(m.mean) < 5 * bound / std::sqrt(3.0 * 12000));
  CHECK_THROWS_WITH(init::xavier_uniform_(Tensor::empty({4}), {}), Catch::Contains("no matrix"));
}

TEST_CASE("a key names the numbers: seed and index both count") {
  const auto draw = [](uint64_t seed, uint32_t index) {
    const Tensor t = Tensor::empty({64});
    init::normal_(t, init::weight_key(seed, index), 0, 1);
    return t.to_vector<float>();
  };
  CHECK(draw(1, 0) == draw(1, 0));
  CHECK(draw(1, 0) != draw(1, 1));
  CHECK(draw(1, 0) != draw(2, 0));
}

TEST_CASE("a truncated normal stays inside its bounds and has the truncated deviation") {
  const Tensor t = Tensor::empty({20000});
  init::trunc_normal_(t, init::weight_key(1, 0), 0.02, -0.02, 0.02);
  const Moments m = moments_of(t);
  CHECK(m.high <= 0.02f);
  CHECK(m.low >= -0.02f);
  // Cut at one deviation: variance 1 - 2 phi(1) / (2 Phi(1) - 1) = 0.29113.
  CHECK(m.deviation == Approx(0.02 * std::sqrt(0.29113)).epsilon(0.02));
  init::trunc_normal_(t, init::weight_key(1, 0), 0.02, -2, 2);
  CHECK(moments_of(t).deviation == Approx(0.02).epsilon(0.02));
  CHECK_THROWS(init::trunc_normal_(t, {}, 0.02, 1, 2));
}

}  // namespace
}  // namespace tessera
