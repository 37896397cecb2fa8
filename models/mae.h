// The masked autoencoder (He et al., 2021, arXiv 2111.06377), as the official models_mae.py
// defines it: names, shapes and numbers of the state dict are the same.
// Rule: only visible patches enter the encoder; in training the prediction head runs on removed
// patches alone. Pictures come normalised and get no gradient.
#pragma once

#include <cstdint>

#include "models/masks.h"
#include "nn/grid.h"
#include "nn/module.h"
#include "nn/patch_embed.h"
#include "nn/transformer.h"

namespace tessera {

struct MaeConfig {
  int64_t image_height = 224, image_width = 224, patch = 16, channels = 3;
  int64_t dim = 768, depth = 12, heads = 12;  // the encoder; ViT-B
  double mlp_ratio = 4;                       // hidden width of both MLPs over their width
  int64_t decoder_dim = 512, decoder_depth = 8, decoder_heads = 16;
  bool norm_pix_loss = false;  // targets normalised patch by patch
  double mask_ratio = 0.75;
  double norm_eps = 1e-6;

  Grid grid() const { return {image_height / patch, image_width / patch}; }
  int64_t patches() const { return grid().patches(); }                  // L
  int64_t patch_values() const { return patch * patch * channels; }     // p p C
  int64_t kept() const { return kept_patches(patches(), mask_ratio); }  // K
  int64_t hidden(int64_t width) const { return static_cast<int64_t>(width * mlp_ratio); }

  // A UsageError, one line with the values, for a model that cannot be built.
  void check() const;
};

struct MaeOutput {
  Tensor loss;  // 0-d: mean square error over the removed patches
  // Only when asked for:
  Tensor latent;       // (B, 1 + K, dim): the encoder's normed tokens, class first
  Tensor pred;         // (B, L, p p C), channel fastest: predictions for every patch
  Tensor mask;         // (B, L) f32: 0 visible, 1 removed
  Tensor ids_restore;  // (B, L) i64
};

class Mae : public Module {
 public:
  // Weights drawn from the seed; see initialize().
  Mae(const MaeConfig& config, uint64_t seed);
  // For weights that are loaded next: all zero, norms 1, positions in place.
  explicit Mae(const MaeConfig& config);

  const MaeConfig& config() const { return config_; }
  // Whether blocks keep only their input for backward and run again there: less memory, a third
  // more work, the same bits.
  void set_checkpointing(bool value) { checkpointing_ = value; }

  // The reference's initialisation: every matrix xavier-uniform (the patch projection seen as
  // (dim, p p C)), its bias U(+-1/sqrt(p p C)), class and mask token N(0, 0.02), other biases 0.
  void initialize(uint64_t seed);

  // imgs (B, C, H, W) of the configured size, on the model's device; masks from anywhere.
  // `everything` fills the rest of MaeOutput; loss and gradients have the same value either way.
  MaeOutput forward(const Tensor& imgs, const Masking& masks, bool everything = false) const;
  // The same with the mask of argsort(noise), noise (B, L) f32.
  MaeOutput forward(const Tensor& imgs, const Tensor& noise, bool everything = false) const;

  // The patches of imgs named by ids_keep (B, K), or all of them when it is undefined, through the
  // encoder: (B, 1 + K, dim), class token first.
  Tensor encode(const Tensor& imgs, const Tensor& ids_keep = {}) const;

 private:
  // The patches that ids name, or all, whose places among the tokens, class token first, are
  // `places`.
  Tensor encode(const Tensor& imgs, const Tensor& ids, const Tensor& places) const;
  Stream decode(const Tensor& latent, const Masking& masking) const;  // (B, 1 + L, decoder_dim)
  Tensor predict(const Tensor& tokens) const;                         // (..., decoder_dim) -> ppC
  // x (B, N, D) through a tower of blocks.
  Stream run(const ModuleList<TransformerBlock>& blocks, const Tensor& x) const;
  void check_images(const Tensor& imgs) const;

  MaeConfig config_;
  bool checkpointing_ = false;
  Tensor cls_token_, pos_embed_;           // (1, 1, dim), (1, 1 + L, dim)
  Tensor mask_token_, decoder_pos_embed_;  // (1, 1, decoder_dim), (1, 1 + L, decoder_dim)
  PatchEmbed patch_embed_;
  ModuleList<TransformerBlock> blocks_;
  LayerNorm norm_;
  Linear decoder_embed_;
  ModuleList<TransformerBlock> decoder_blocks_;
  LayerNorm decoder_norm_;
  Linear decoder_pred_;
};

}  // namespace tessera
