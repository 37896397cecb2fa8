// A small masked autoencoder for tests, not square and with an odd channel count.
#pragma once

#include "engine/raw.h"
#include "models/mae.h"

namespace tessera {

inline MaeConfig small_config(int64_t channels = 3, bool norm_pix = false) {
  MaeConfig config;
  config.image_height = 8;
  config.image_width = 20;
  config.patch = 4;
  config.channels = channels;
  config.dim = 12;
  config.depth = 2;
  config.heads = 3;
  config.decoder_dim = 8;
  config.decoder_depth = 1;
  config.decoder_heads = 2;
  config.mask_ratio = 0.6;
  config.norm_pix_loss = norm_pix;
  return config;  // L = 2 x 5 = 10, K = 4
}

inline Tensor random_images(const MaeConfig& config, int64_t batch, uint64_t seed,
                            DType dtype = DType::kF32) {
  return raw::uniform({batch, config.channels, config.image_height, config.image_width},
                      {seed, 0, kSitePicture}, -1, 1, dtype);
}

}  // namespace tessera
