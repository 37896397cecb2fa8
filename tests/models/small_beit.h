// A small BEiT for tests, not square, with an odd channel count and every switch in reach.
#pragma once

#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/beit.h"
#include "nn/init.h"

namespace tessera {

inline BeitConfig small_beit(RelativeBias bias = RelativeBias::kShared) {
  BeitConfig config;
  config.image_height = 8;
  config.image_width = 20;
  config.patch = 4;
  config.channels = 3;
  config.dim = 12;
  config.depth = 2;
  config.heads = 3;
  config.head_dim = 6;  // wider than dim / heads
  config.vocab = 7;
  config.relative_bias = bias;
  config.absolute_positions = bias == RelativeBias::kNone;
  config.drop_path = 0;
  return config;  // L = 2 x 5 = 10
}

// Random f64 weights everywhere, so that no term hides behind a zero.
inline void randomize(Module& model, uint64_t seed) {
  uint32_t index = 0;
  model.visit([&](const std::string& name, Tensor& t, StateKind kind) {
    const RandomKey key = init::weight_key(seed, index++);
    if (kind == StateKind::kBuffer) return;
    const double middle = name.find("gamma") != std::string::npos ? 0.5 : 0;
    t = raw::uniform(t.shape(), key, middle - 0.4, middle + 0.4, DType::kF64);
    set_requires_grad(t);
  });
}

inline Tensor random_pictures(const VitConfig& config, int64_t batch, uint64_t seed,
                              DType dtype = DType::kF32) {
  return raw::uniform({batch, config.channels, config.image_height, config.image_width},
                      {seed, 0, kSitePicture}, -1, 1, dtype);
}

// (B, L) i64 below vocab.
inline Tensor random_tokens(const BeitConfig& config, int64_t batch, uint64_t seed) {
  PhiloxStream random({seed, 1, kSitePicture});
  std::vector<int64_t> ids(static_cast<size_t>(batch * config.patches()));
  for (int64_t& id : ids) id = random.below(config.vocab);
  return Tensor::from(ids, {batch, config.patches()});
}

}  // namespace tessera
