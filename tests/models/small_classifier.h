// Classifiers on small encoders, and features compared, for tests of what one model hands another.
#pragma once

#include <catch2/catch.hpp>

#include "models/vit.h"

namespace tessera {

inline ClassifierConfig classifier_of(const VitConfig& encoder, Pooling pooling) {
  ClassifierConfig config;
  static_cast<VitConfig&>(config) = encoder;
  config.classes = 5;
  config.pooling = pooling;
  return config;
}

// f32 features, within 1e-6 of 1 or of themselves.
inline void check_close(const Tensor& have, const Tensor& want) {
  REQUIRE(have.shape() == want.shape());
  const auto h = have.to_vector<float>(), w = want.to_vector<float>();
  for (size_t i = 0; i < w.size(); ++i) CHECK(h[i] == Approx(w[i]).margin(1e-6));
}

}  // namespace tessera
