// The pre-norm transformer block of ViT (Dosovitskiy et al., 2021) and its two halves.
// Rule: names and layouts are those of timm's Block, which the official MAE builds on.
#pragma once

#include "nn/layers.h"

namespace tessera {

// Self-attention. qkv.weight (3D, D) has the rows of q, then k, then v, each (heads, D / heads).
class MultiHeadAttention : public Module {
 public:
  MultiHeadAttention(int64_t dim, int64_t heads);
  // x (B, N, D) -> (B, N, D). bias is added to the scaled logits and broadcasts to
  // (1, heads, N, N); undefined: none.
  Tensor operator()(const Tensor& x, const Tensor& bias = {}) const;

 private:
  int64_t heads_, head_dim_;
  Linear qkv_, proj_;
};

// fc1 (hidden, D), exact GELU, fc2 (D, hidden).
class Mlp : public Module {
 public:
  Mlp(int64_t dim, int64_t hidden);
  Tensor operator()(const Tensor& x) const;  // (..., D) -> (..., D)

 private:
  Linear fc1_, fc2_;
};

// x += attn(norm1(x)); x += mlp(norm2(x)).
class TransformerBlock : public Module {
 public:
  TransformerBlock(int64_t dim, int64_t heads, int64_t mlp_hidden, double norm_eps,
                   double drop_path = 0);
  Tensor operator()(const Tensor& x, const Tensor& attention_bias = {}) const;  // (B, N, D)

 private:
  LayerNorm norm1_;
  MultiHeadAttention attn_;
  LayerNorm norm2_;
  Mlp mlp_;
  DropPath drop_path_;
};

}  // namespace tessera
