// BEiT pre-training (Bao et al., 2021, arXiv 2106.08254), as the official modeling_pretrain.py
// defines it: all patches enter, a mask token in the place of some, and the model names the visual
// token of each patch that it did not see. Names, shapes and numbers of the state dict are the
// same. Rule: shapes never depend on which patches are masked: what must be predicted is a list of
// one length for every picture, padded with an ignored label. Pictures come normalised and get no
// gradient. The fine-tuning model is VitClassifier (models/vit.h).
#pragma once

#include <cstdint>

#include "models/masks.h"
#include "models/vit.h"

namespace tessera {

struct BeitConfig : VitConfig {
  int64_t vocab = 8192;  // visual tokens the tokenizer knows

  // BEiT-B: no absolute positions, one relative bias for all blocks, layer scale 0.1.
  BeitConfig();
  void check() const;
};

struct BeitOutput {
  Tensor loss;      // 0-d: cross-entropy, the mean over the masked patches
  Tensor accuracy;  // 0-d f32, no gradient: share of masked patches whose token is the likeliest
  Tensor logits;    // (B, T, vocab), row by row of MaskedPatches::tokens; padded rows mean nothing
};

class Beit : public VitTrunk {
 public:
  // Weights drawn from the seed; see initialize().
  Beit(const BeitConfig& config, uint64_t seed);
  // For weights that are loaded next: all zero, norms 1.
  explicit Beit(const BeitConfig& config);

  const BeitConfig& config() const { return config_; }

  // The reference's initialisation: every matrix, token and position a normal of deviation 0.02,
  // drawn again outside one deviation; biases and relative tables 0; then the rescaling of blocks.
  void initialize(uint64_t seed);

  // imgs (B, C, H, W); token_ids (B, L) i64 in [0, vocab), of which the masked ones are read.
  BeitOutput forward(const Tensor& imgs, const MaskedPatches& masked,
                     const Tensor& token_ids) const;

  // Nothing masked: the normed tokens (B, 1 + L, dim), class token first.
  Tensor encode(const Tensor& imgs) const;
  // The model's word on every patch, seen or not: logits (B, L, vocab). mask (B, L) bool.
  Tensor predict(const Tensor& imgs, const Tensor& mask) const;

 private:
  BeitConfig config_;
  LayerNorm norm_;
  Linear lm_head_;
};

}  // namespace tessera
