// Initial weights: draw on the host in f32, then copy into the parameter.
#include "nn/init.h"

#include <cmath>
#include <vector>

#include "engine/raw.h"

namespace tessera::init {

void for_each_tensor(Module& module, uint64_t seed, const std::function<void(const Entry&)>& draw) {
  uint32_t index = 0;
  module.visit([&](const std::string& name, Tensor& tensor, StateKind kind) {
    draw({name, tensor, kind, weight_key(seed, index++)});
  });
}

void uniform_(const Tensor& t, RandomKey key, double low, double high) {
  raw::copy_(t, raw::to(raw::uniform(t.shape(), key, low, high), t.device()));
}

void normal_(const Tensor& t, RandomKey key, double mean, double deviation) {
  raw::copy_(t, raw::to(raw::normal(t.shape(), key, mean, deviation), t.device()));
}

void xavier_uniform_(const Tensor& t, RandomKey key) {
  TESSERA_CHECK(t.ndim() >= 2 && t.numel() > 0, "[xavier_uniform_] {} is no matrix", describe(t));
  const int64_t fan_out = t.size(0), fan_in = t.numel() / fan_out;
  const double bound = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  uniform_(t, key, -bound, bound);
}

void trunc_normal_(const Tensor& t, RandomKey key, double deviation, double low, double high) {
  // Bounds beyond four deviations on one side would make redrawing slow for nothing.
  TESSERA_CHECK(deviation > 0 && low < high && low < 4 * deviation && high > -4 * deviation,
                "[trunc_normal_] bounds [{}, {}] cannot hold a normal of deviation {}", low, high,
                deviation);
  PhiloxStream stream(key);
  std::vector<float> values(static_cast<size_t>(t.numel()));
  for (float& value : values) {
    double drawn = deviation * stream.normal();
    while (drawn < low || drawn > high) drawn = deviation * stream.normal();
    value = static_cast<float>(drawn);
  }
  raw::copy_(t, Tensor::from(values, t.shape(), t.device()));
}

}  // namespace tessera::init
