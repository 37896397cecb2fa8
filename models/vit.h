// Vision transformers that see every patch (Dosovitskiy et al., 2021): the tower that BEiT's
// pre-training and all classifiers share, and the classifier that MAE and BEiT encoders are
// fine-tuned in. State-dict names, shapes and initial weights are those of MAE's models_vit.py and
// BEiT's modeling_finetune.py, which agree but for what VitConfig can switch.
// Rule: what is switched off has no tensor in the state dict.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/philox.h"
#include "nn/grid.h"
#include "nn/module.h"
#include "nn/patch_embed.h"
#include "nn/transformer.h"

namespace tessera {

enum class RelativeBias : uint8_t { kNone, kShared, kPerBlock };

struct VitConfig {
  int64_t image_height = 224, image_width = 224, patch = 16, channels = 3;
  int64_t dim = 768, depth = 12, heads = 12;  // ViT-B
  int64_t head_dim = 0;                       // width of a head; 0: dim / heads
  double mlp_ratio = 4;                       // hidden width of the MLPs over dim
  bool absolute_positions = true;             // a learned pos_embed (1, 1 + L, dim)
  RelativeBias relative_bias = RelativeBias::kNone;
  QkvBias qkv_bias = QkvBias::kAll;
  double layer_scale = 0;  // first value of gamma_1 and gamma_2; 0: none
  double drop_path = 0;    // of the last block; rises linearly from 0 in the first
  double norm_eps = 1e-6;
  // Initially attn.proj and mlp.fc2 of block i (from 0) are divided by sqrt(2 (i + 1)), as BEiT.
  bool rescale_blocks = false;

  Grid grid() const { return {image_height / patch, image_width / patch}; }
  int64_t patches() const { return grid().patches(); }               // L
  int64_t patch_values() const { return patch * patch * channels; }  // p p C
  int64_t hidden() const { return static_cast<int64_t>(dim * mlp_ratio); }
  int64_t attention_dim() const { return heads * (head_dim > 0 ? head_dim : dim / heads); }
  BlockOptions block(int64_t i) const;

  // A UsageError, one line with the values, for a model that cannot be built.
  void check() const;
};

// The number i of a parameter called "blocks.i. ..."; none for any other name.
std::optional<int64_t> block_of(std::string_view name);

// How far from the pictures a parameter is. 0: tokens, positions and patch embedding; i + 1: block
// i; depth + 1: everything after the blocks (a shared relative bias counts there, as in BEiT's
// optim_factory.py).
int64_t layer_of(std::string_view name, int64_t depth);

// Patch embedding, class token, positions, blocks; a model adds norm and head.
class VitTrunk : public Module {
 public:
  // Whether blocks keep only their input for backward and run again there: less memory, a third
  // more work, the same bits.
  void set_checkpointing(bool value) { checkpointing_ = value; }

  // Partial fine-tuning (He et al., 2021, section 4.3): only the last `count` blocks and what comes
  // after them learn; the rest gets no gradient and no backward pass enters it. An optimizer made
  // afterwards does not know the frozen weights. UsageError when there are not so many blocks.
  void train_last_blocks(int64_t count);

 protected:
  // Registers cls_token, mask_token (where asked for), pos_embed, patch_embed, rel_pos_bias and
  // blocks. All zero but norms and layer scales. `config` must have been checked.
  VitTrunk(const VitConfig& config, bool with_mask_token);

  // imgs (B, C, H, W) of the configured size -> (B, 1 + L, dim) after the last block, class token
  // first, before any norm. Where mask (B, L) bool is true the mask token enters for the patch.
  // `look` is shown what enters each block, from 0 on, and what leaves the last one as `depth`.
  using Look = std::function<void(int64_t block, const Tensor& tokens)>;
  Tensor run(const Tensor& imgs, const Tensor& mask = {}, const Look& look = {}) const;

  // Who looks at whom in a block when `tokens` (B, 1 + L, dim) enter it: (B, heads, 1 + L, 1 + L),
  // each query's row of sum 1.
  Tensor attention_of(int64_t block, const Tensor& tokens) const;

  // Matrices, tokens and the patch projection as `draw` says; biases and relative tables 0, norms
  // 1, layer scales as configured; then the rescaling of blocks.
  using Draw = std::function<void(const std::string& name, const Tensor& t, RandomKey key)>;
  void initialize_with(uint64_t seed, const Draw& draw);

  const VitConfig& trunk_config() const { return config_; }

 private:
  Tensor shared_bias() const;  // (heads, 1 + L, 1 + L); undefined where there is none

  VitConfig config_;
  bool checkpointing_ = false;
  int64_t frozen_blocks_ = 0;                  // the first so many
  Tensor cls_token_, mask_token_, pos_embed_;  // (1, 1, dim), the same, (1, 1 + L, dim)
  PatchEmbed patch_embed_;
  std::optional<RelativePositionBias> rel_pos_bias_;
  ModuleList<TransformerBlock> blocks_;
};

enum class Pooling : uint8_t {
  kMean,        // fc_norm of the mean over the patches' tokens
  kClassToken,  // norm of the class token
};

struct ClassifierConfig : VitConfig {
  int64_t classes = 1000;
  Pooling pooling = Pooling::kMean;

  void check() const;
};

class VitClassifier : public VitTrunk {
 public:
  // Weights drawn from the seed; see initialize().
  VitClassifier(const ClassifierConfig& config, uint64_t seed);
  // For weights that are loaded next: all zero, norms 1.
  explicit VitClassifier(const ClassifierConfig& config);

  const ClassifierConfig& config() const { return config_; }

  // The references' initialisation: matrices, tokens and positions N(0, 0.02), the patch
  // projection and its bias U(+-1/sqrt(p p C)), the head N(0, 2e-5).
  void initialize(uint64_t seed);

  Tensor features(const Tensor& imgs) const;    // (B, C, H, W) -> (B, dim), normed
  Tensor operator()(const Tensor& imgs) const;  // (B, C, H, W) -> logits (B, classes)

 private:
  ClassifierConfig config_;
  LayerNorm norm_;  // "fc_norm" or "norm"
  Linear head_;
};

}  // namespace tessera
