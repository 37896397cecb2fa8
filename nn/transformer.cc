// Attention, MLP and block: one line of the paper each.
#include "nn/transformer.h"

#include <cmath>

#include "autograd/functions.h"
#include "engine/raw.h"

namespace tessera {
namespace {

int64_t head_dim_of(const BlockOptions& options) {
  TESSERA_CHECK_USAGE(options.heads > 0, "[attention] {} heads: at least one is needed",
                      options.heads);
  if (options.head_dim > 0) return options.head_dim;
  TESSERA_CHECK_USAGE(options.dim % options.heads == 0,
                      "[attention] width {} does not divide into {} heads", options.dim,
                      options.heads);
  return options.dim / options.heads;
}

}  // namespace

MultiHeadAttention::MultiHeadAttention(const BlockOptions& options)
    : heads_(options.heads),
      head_dim_(head_dim_of(options)),
      qkv_(options.dim, 3 * heads_ * head_dim_, options.qkv_bias == QkvBias::kAll),
      proj_(heads_ * head_dim_, options.dim) {
  if (options.qkv_bias == QkvBias::kQueryValue) {
    add_parameter("q_bias", q_bias_, {heads_ * head_dim_});
    add_parameter("v_bias", v_bias_, {heads_ * head_dim_});
  }
  if (!options.relative_grid.empty()) {
    const int64_t tokens = 1 + options.relative_grid.patches();
    add_parameter("relative_position_bias_table", table_,
                  {relative_distances(options.relative_grid), heads_});
    add_buffer("relative_position_index", relative_index_, {tokens, tokens}, 0, DType::kI64);
    raw::copy_(relative_index_, relative_position_index(options.relative_grid));
  }
  add_child("qkv", qkv_);
  add_child("proj", proj_);
}

Tensor MultiHeadAttention::project(const Tensor& x) const {
  if (!q_bias_.defined()) return qkv_(x);
  const Tensor no_k_bias = Tensor::zeros(q_bias_.shape(), q_bias_.dtype(), q_bias_.device());
  return linear(x, qkv_.weight(), cat({q_bias_, no_k_bias, v_bias_}, 0));
}

MultiHeadAttention::Heads MultiHeadAttention::heads_of(const Tensor& x) const {
  // Taken apart before the heads move forward, so that the three gradients land side by side in
  // one (B, N, 3A) buffer.
  const Tensor qkv = reshape(project(x), {x.size(0), x.size(1), 3, heads_, head_dim_});
  const std::vector<Tensor> parts = unbind(qkv, 2);  // three views (B, N, H, d)
  const auto heads_first = [](const Tensor& t) { return permute(t, {0, 2, 1, 3}); };
  return {heads_first(parts[0]), heads_first(parts[1]), heads_first(parts[2])};
}

Tensor MultiHeadAttention::with_own(const Tensor& bias) const {
  if (!table_.defined()) return bias;
  const Tensor own = relative_position_bias(table_, relative_index_);  // (heads, N, N)
  return bias.defined() ? bias + own : own;
}

double MultiHeadAttention::scale() const { return 1 / std::sqrt(double(head_dim_)); }

Tensor MultiHeadAttention::operator()(const Tensor& x, const Tensor& bias) const {
  const Heads heads = heads_of(x);
  const Tensor mixed = attention(heads.q, heads.k, heads.v, with_own(bias), scale());
  // attention() lays (B, H, N, d) out as (B, N, H, d), so this reshape moves nothing.
  return proj_(reshape(permute(mixed, {0, 2, 1, 3}), {x.size(0), x.size(1), heads_ * head_dim_}));
}

Tensor MultiHeadAttention::probabilities(const Tensor& x, const Tensor& bias) const {
  const Heads heads = heads_of(x);
  const Tensor logits = matmul(heads.q, transpose(heads.k, 2, 3)) * scale();
  const Tensor whole_bias = with_own(bias);
  return softmax(whole_bias.defined() ? logits + whole_bias : logits, -1);
}

Mlp::Mlp(int64_t dim, int64_t hidden) : fc1_(dim, hidden), fc2_(hidden, dim) {
  add_child("fc1", fc1_);
  add_child("fc2", fc2_);
}

Tensor Mlp::operator()(const Tensor& x) const {
  return fc2_(bias_gelu(linear(x, fc1_.weight()), fc1_.bias()));
}

TransformerBlock::TransformerBlock(const BlockOptions& options)
    : norm1_(options.dim, options.norm_eps),
      attn_(options),
      norm2_(options.dim, options.norm_eps),
      mlp_(options.dim, options.mlp_hidden),
      drop_path_(options.drop_path) {
  if (options.layer_scale != 0) {
    add_parameter("gamma_1", gamma_1_, {options.dim}, options.layer_scale);
    add_parameter("gamma_2", gamma_2_, {options.dim}, options.layer_scale);
  }
  add_child("norm1", norm1_);
  add_child("attn", attn_);
  add_child("norm2", norm2_);
  add_child("mlp", mlp_);
  add_child("drop_path", drop_path_);
}

Stream TransformerBlock::operator()(const Stream& in, const Tensor& attention_bias) const {
  const auto scaled = [](const Tensor& gamma, const Tensor& t) {
    return gamma.defined() ? gamma * t : t;
  };
  const NormedSum x = norm1_(in);
  const NormedSum y =
      norm2_(Stream{x.sum, drop_path_(scaled(gamma_1_, attn_(x.normed, attention_bias)))});
  return {y.sum, drop_path_(scaled(gamma_2_, mlp_(y.normed)))};
}

Tensor TransformerBlock::operator()(const Tensor& x, const Tensor& attention_bias) const {
  return (*this)(Stream{x}, attention_bias).sum();
}

Tensor TransformerBlock::attention_probabilities(const Tensor& x,
                                                 const Tensor& attention_bias) const {
  return attn_.probabilities(norm1_(x), attention_bias);
}

}  // namespace tessera
