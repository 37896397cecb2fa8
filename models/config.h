// What the models' configurations share.
#pragma once

#include <cstdint>

#include "engine/error.h"

namespace tessera {

// `config` itself, or the UsageError of its check(): for the first initialiser of a constructor.
template <class Config>
const Config& checked(const Config& config) {
  config.check();
  return config;
}

// A UsageError unless pictures (channels, height, width) divide into square patches.
inline void check_patches(int64_t height, int64_t width, int64_t patch, int64_t channels) {
  TESSERA_CHECK_USAGE(patch > 0 && channels > 0 && height > 0 && width > 0,
                      "image {}x{}, patch {} and channels {} must all be positive", height, width,
                      patch, channels);
  TESSERA_CHECK_USAGE(height % patch == 0 && width % patch == 0,
                      "image size {}x{} is not divisible by patch size {}", height, width, patch);
}

}  // namespace tessera
