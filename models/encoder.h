// What a pre-trained or fine-tuned model makes of whole pictures, block by block: one encoder for
// MAE, BEiT and classifiers, to probe, to draw and to take features from.
// Rule: nothing is hidden from it and nothing learns here; the weights have the names they had in
// the model they come from. Blocks count from 1 for whoever reads the results, as layers do: block
// i's tokens are those that leave it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/mae.h"
#include "models/vit.h"

namespace tessera {

// Where a model puts the norm that follows its last block.
enum class FinalNorm : uint8_t {
  kTokens,  // "norm", over every token: MAE, BEiT, a classifier of the class token
  kPooled,  // "fc_norm", over the mean of the patches' tokens: a classifier that pools
};

class VitEncoder : public VitTrunk {
 public:
  // For weights that are loaded next: all zero, norms 1. A UsageError for a model that cannot be.
  VitEncoder(const VitConfig& config, FinalNorm final_norm);

  const VitConfig& config() const { return trunk_config(); }
  FinalNorm final_norm() const { return final_norm_; }

  // Out of the state dict of a MAE, a BEiT or a classifier: takes what the encoder has and leaves
  // decoder, mask token and heads behind. An Error names what is missing or does not fit.
  void load(const std::map<std::string, Tensor>& weights);
  void load(const Module& model);

  // (B, C, H, W), normalised -> for each block its tokens (B, 1 + L, dim), class token first,
  // before any norm that follows the block.
  std::vector<Tensor> tokens(const Tensor& imgs) const;

  // Tokens (B, 1 + L, dim) of one block as a reader wants them: where they leave the `last` block
  // and the model norms all of them (kTokens), normed.
  Tensor finished(const Tensor& tokens, bool last) const;
  // The same -> (B, 2, dim): the class token, and the mean over the patches. Of the last block
  // normed, before the mean (kTokens) or after it (kPooled; then the class token is, too).
  Tensor pooled(const Tensor& tokens, bool last) const;

  // For each block (B, heads, 1 + L, 1 + L): how much every token (row) takes from every other.
  std::vector<Tensor> attention(const Tensor& imgs) const;

 private:
  FinalNorm final_norm_;
  LayerNorm norm_;
};

// Attention rollout (Abnar and Zuidema, 2020): how much of every token at the input is in every
// token that leaves the last of the given blocks, (B, N, N), rows of sum 1. Each block passes on
// half of what enters it (the residual connection) and half of what its heads, averaged, take.
// attention: (B, heads, N, N) for each block, from the first.
Tensor attention_rollout(const std::vector<Tensor>& attention);

}  // namespace tessera
