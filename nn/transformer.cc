// Attention, MLP and block: one line of the paper each.
#include "nn/transformer.h"

#include <cmath>

#include "autograd/functions.h"

namespace tessera {

MultiHeadAttention::MultiHeadAttention(int64_t dim, int64_t heads)
    : heads_(heads), head_dim_(heads > 0 ? dim / heads : 0), qkv_(dim, 3 * dim), proj_(dim, dim) {
  TESSERA_CHECK_USAGE(heads > 0 && dim % heads == 0,
                      "[attention] width {} does not divide into {} heads", dim, heads);
  add_child("qkv", qkv_);
  add_child("proj", proj_);
}

Tensor MultiHeadAttention::operator()(const Tensor& x, const Tensor& bias) const {
  const int64_t batch = x.size(0), tokens = x.size(1), dim = x.size(2);
  // Taken apart before the heads move forward, so that the three gradients land side by side in
  // one (B, N, 3D) buffer.
  const Tensor qkv = reshape(qkv_(x), {batch, tokens, 3, heads_, head_dim_});
  const std::vector<Tensor> parts = unbind(qkv, 2);  // three views (B, N, H, d)
  const auto heads_first = [](const Tensor& t) { return permute(t, {0, 2, 1, 3}); };
  const Tensor mixed = attention(heads_first(parts[0]), heads_first(parts[1]),
                                 heads_first(parts[2]), bias, 1 / std::sqrt(double(head_dim_)));
  // attention() lays (B, H, N, d) out as (B, N, H, d), so this reshape moves nothing.
  return proj_(reshape(permute(mixed, {0, 2, 1, 3}), {batch, tokens, dim}));
}

Mlp::Mlp(int64_t dim, int64_t hidden) : fc1_(dim, hidden), fc2_(hidden, dim) {
  add_child("fc1", fc1_);
  add_child("fc2", fc2_);
}

Tensor Mlp::operator()(const Tensor& x) const { return fc2_(gelu(fc1_(x))); }

TransformerBlock::TransformerBlock(int64_t dim, int64_t heads, int64_t mlp_hidden, double norm_eps,
                                   double drop_path)
    : norm1_(dim, norm_eps),
      attn_(dim, heads),
      norm2_(dim, norm_eps),
      mlp_(dim, mlp_hidden),
      drop_path_(drop_path) {
  add_child("norm1", norm1_);
  add_child("attn", attn_);
  add_child("norm2", norm2_);
  add_child("mlp", mlp_);
  add_child("drop_path", drop_path_);
}

Tensor TransformerBlock::operator()(const Tensor& x, const Tensor& attention_bias) const {
  const Tensor y = x + drop_path_(attn_(norm1_(x), attention_bias));
  return y + drop_path_(mlp_(norm2_(y)));
}

}  // namespace tessera
