// The pre-norm transformer block of ViT (Dosovitskiy et al., 2021) and its two halves, with the
// variants of BEiT (Bao et al., 2021): one block serves every model here.
// Rule: names and layouts are those of timm's Block, which the official MAE builds on, and of
// BEiT's modeling_finetune.py, which differs only in what it adds.
#pragma once

#include "nn/layers.h"
#include "nn/relative_position.h"

namespace tessera {

enum class QkvBias : uint8_t {
  kNone,
  kAll,         // qkv.bias (3A,)
  kQueryValue,  // q_bias and v_bias (A,), none for k (its softmax would not see one): BEiT
};

// What tells one model's blocks from another's; the defaults are MAE's.
struct BlockOptions {
  int64_t dim = 0, heads = 1, mlp_hidden = 0;
  int64_t head_dim = 0;  // width of a head; 0: dim / heads. A = heads * head_dim below
  double norm_eps = 1e-6;
  QkvBias qkv_bias = QkvBias::kAll;
  Grid relative_grid = {};  // not empty: this block learns a relative position bias of its own
  double layer_scale = 0;   // what gamma_1 and gamma_2 start from; 0: there are none
  double drop_path = 0;
};

// Self-attention. qkv.weight (3A, D) has the rows of q, then k, then v, each (heads, head_dim).
class MultiHeadAttention : public Module {
 public:
  explicit MultiHeadAttention(const BlockOptions& options);
  // x (B, N, D) -> (B, N, D). bias is added to the scaled logits and broadcasts to
  // (1, heads, N, N); undefined: none. With a relative bias of its own N is 1 + L.
  Tensor operator()(const Tensor& x, const Tensor& bias = {}) const;
  // What operator() weighs the values with: softmax of the biased, scaled logits, (B, heads, N, N),
  // each row a query and of sum 1. For looking at; operator() itself never holds this matrix.
  Tensor probabilities(const Tensor& x, const Tensor& bias = {}) const;

 private:
  struct Heads {
    Tensor q, k, v;  // (B, heads, N, head_dim)
  };
  Tensor project(const Tensor& x) const;  // (B, N, 3A)
  Heads heads_of(const Tensor& x) const;
  Tensor with_own(const Tensor& bias) const;  // bias, and the block's own added where it has one
  double scale() const;

  int64_t heads_, head_dim_;
  Tensor q_bias_, v_bias_;         // kQueryValue only
  Tensor table_, relative_index_;  // with a relative_grid only
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

// x += gamma_1 attn(norm1(x)); x += gamma_2 mlp(norm2(x)).
class TransformerBlock : public Module {
 public:
  explicit TransformerBlock(const BlockOptions& options);
  Tensor operator()(const Tensor& x, const Tensor& attention_bias = {}) const;  // (B, N, D)
  // The same with the last addition left to whoever is next: a tower hands the stream on.
  Stream operator()(const Stream& in, const Tensor& attention_bias = {}) const;
  // Who looks at whom in this block when x enters it: (B, heads, N, N), each query's row of sum 1.
  Tensor attention_probabilities(const Tensor& x, const Tensor& attention_bias = {}) const;

 private:
  Tensor gamma_1_, gamma_2_;  // (D,); undefined without layer scale
  LayerNorm norm1_;
  MultiHeadAttention attn_;
  LayerNorm norm2_;
  Mlp mlp_;
  DropPath drop_path_;
};

}  // namespace tessera
