// BEiT's configuration, initial weights, head and loss.
#include "models/beit.h"

#include "autograd/functions.h"
#include "engine/raw.h"
#include "models/config.h"
#include "nn/init.h"

namespace tessera {

BeitConfig::BeitConfig() {
  absolute_positions = false;
  relative_bias = RelativeBias::kShared;
  qkv_bias = QkvBias::kQueryValue;
  layer_scale = 0.1;
  drop_path = 0.1;
  rescale_blocks = true;
}

void BeitConfig::check() const {
  VitConfig::check();
  TESSERA_CHECK_USAGE(vocab > 1, "a vocabulary of {} tokens leaves nothing to predict", vocab);
}

namespace {

// The share of masked patches whose label the logits rank first; ignored labels equal no index.
Tensor accuracy_of(const Tensor& logits, const Tensor& labels, const Tensor& mask) {
  return sum(to(equal(argmax(logits, 1), labels), DType::kF32)) / sum(to(mask, DType::kF32));
}

}  // namespace

Beit::Beit(const BeitConfig& config)
    : VitTrunk(checked(config), true),
      config_(config),
      norm_(config.dim, config.norm_eps),
      lm_head_(config.dim, config.vocab) {
  add_child("norm", norm_);
  add_child("lm_head", lm_head_);
}

Beit::Beit(const BeitConfig& config, uint64_t seed) : Beit(config) { initialize(seed); }

void Beit::initialize(uint64_t seed) {
  constexpr double kDeviation = 0.02;
  initialize_with(seed, [](const std::string& name, const Tensor& t, RandomKey key) {
    if (name == "patch_embed.proj.bias") {
      raw::fill_(t, 0);
    } else {
      init::trunc_normal_(t, key, kDeviation, -kDeviation, kDeviation);
    }
  });
}

BeitOutput Beit::forward(const Tensor& imgs, const MaskedPatches& patches,
                         const Tensor& token_ids) const {
  const MaskedPatches masked = patches.to(imgs.device());
  const Tensor x = run(imgs, masked.mask);            // (B, 1 + L, D)
  const Tensor labels = masked.labels(token_ids);     // (B, T)
  const Tensor hidden = take_rows(x, masked.tokens);  // (B, T, D)
  BeitOutput out;
  out.logits = lm_head_(norm_(hidden));  // (B, T, V)
  const Tensor rows = reshape(out.logits, {-1, config_.vocab});
  const Tensor row_labels = raw::reshape(labels, {-1});
  out.loss = cross_entropy(rows, row_labels, 0, kIgnoredLabel);
  out.accuracy = accuracy_of(rows, row_labels, masked.mask);
  return out;
}

Tensor Beit::encode(const Tensor& imgs) const { return norm_(run(imgs)); }

Tensor Beit::predict(const Tensor& imgs, const Tensor& mask) const {
  const Tensor x = run(imgs, raw::to(mask, imgs.device()));
  return lm_head_(norm_(slice(x, 1, 1, 1 + config_.patches())));
}

}  // namespace tessera
