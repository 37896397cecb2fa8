// The tower that classifiers and BEiT share, looked at from outside.
#include "models/encoder.h"

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/config.h"

namespace tessera {
namespace {

Tensor identity(int64_t n, Device device) {
  std::vector<float> values(static_cast<size_t>(n * n), 0.0f);
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i * n + i)] = 1;
  return Tensor::from(values, {n, n}, device);
}

}  // namespace

VitEncoder::VitEncoder(const VitConfig& config, FinalNorm final_norm)
    : VitTrunk(checked(config), false),
      final_norm_(final_norm),
      norm_(config.dim, config.norm_eps) {
  add_child(final_norm == FinalNorm::kPooled ? "fc_norm" : "norm", norm_);
  set_training(false);
  set_trainable(false);
}

void VitEncoder::load(const std::map<std::string, Tensor>& weights) {
  std::map<std::string, Tensor> own;
  for (const auto& [name, tensor] : state_dict()) {
    const auto found = weights.find(name);
    TESSERA_CHECK(found != weights.end(), "[encoder] '{}' is missing", name);
    own.insert(*found);
  }
  load_state_dict(own);
}

void VitEncoder::load(const Module& model) {
  std::map<std::string, Tensor> weights;
  for (const auto& [name, tensor] : model.state_dict()) weights[name] = tensor;
  load(weights);
}

std::vector<Tensor> VitEncoder::tokens(const Tensor& imgs) const {
  const NoGrad no_grad;
  std::vector<Tensor> tokens;
  run(imgs, {}, [&](int64_t block, const Tensor& x) {
    if (block > 0) tokens.push_back(x);
  });
  return tokens;
}

Tensor VitEncoder::finished(const Tensor& tokens, bool last) const {
  const NoGrad no_grad;
  return last && final_norm_ == FinalNorm::kTokens ? norm_(tokens) : tokens;
}

Tensor VitEncoder::pooled(const Tensor& tokens, bool last) const {
  const NoGrad no_grad;
  const Tensor x = finished(tokens, last);  // (B, 1 + L, dim)
  const Tensor patches = mean(slice(x, 1, 1, x.size(1)), {1});
  const Tensor pooled = stack({select(x, 1, 0), patches}, 1);  // (B, 2, dim)
  return last && final_norm_ == FinalNorm::kPooled ? norm_(pooled) : pooled;
}

std::vector<Tensor> VitEncoder::attention(const Tensor& imgs) const {
  const NoGrad no_grad;
  std::vector<Tensor> maps;
  run(imgs, {}, [&](int64_t block, const Tensor& x) {
    if (block < config().depth) maps.push_back(attention_of(block, x));
  });
  return maps;
}

Tensor attention_rollout(const std::vector<Tensor>& attention) {
  TESSERA_CHECK(!attention.empty() && attention[0].ndim() == 4,
                "[attention_rollout] wants (B, heads, N, N) for at least one block");
  const NoGrad no_grad;
  const Tensor stay = identity(attention[0].size(3), attention[0].device());  // (N, N)
  Tensor rollout;
  for (const Tensor& block : attention) {
    const Tensor passed = (mean(block, {1}) + stay) * 0.5;  // (B, N, N), rows of sum 1
    rollout = rollout.defined() ? matmul(passed, rollout) : passed;
  }
  return rollout;
}

}  // namespace tessera
