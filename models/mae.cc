// The masked autoencoder: configuration, initial weights, encoder, decoder, loss.
#include "models/mae.h"

#include <cmath>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "nn/checkpointed.h"
#include "nn/init.h"

namespace tessera {

void MaeConfig::check() const {
  TESSERA_CHECK_USAGE(patch > 0 && channels > 0 && image_height > 0 && image_width > 0,
                      "image {}x{}, patch {} and channels {} must all be positive", image_height,
                      image_width, patch, channels);
  TESSERA_CHECK_USAGE(image_height % patch == 0 && image_width % patch == 0,
                      "image size {}x{} is not divisible by patch size {}", image_height,
                      image_width, patch);
  const auto check_tower = [](const char* name, int64_t width, int64_t blocks, int64_t heads) {
    TESSERA_CHECK_USAGE(width > 0 && width % 4 == 0,
                        "{} width {} is no multiple of 4, which its sin-cos positions need", name,
                        width);
    TESSERA_CHECK_USAGE(blocks > 0, "{} depth {} must be at least 1", name, blocks);
    TESSERA_CHECK_USAGE(heads > 0 && width % heads == 0,
                        "{} width {} does not divide into {} heads", name, width, heads);
  };
  check_tower("encoder", dim, depth, heads);
  check_tower("decoder", decoder_dim, decoder_depth, decoder_heads);
  TESSERA_CHECK_USAGE(hidden(dim) > 0 && hidden(decoder_dim) > 0, "MLP ratio {} is too small",
                      mlp_ratio);
  TESSERA_CHECK_USAGE(norm_eps > 0, "norm eps {} must be positive", norm_eps);
  TESSERA_CHECK_USAGE(mask_ratio >= 0 && mask_ratio < 1, "mask ratio {} is outside [0, 1)",
                      mask_ratio);
  TESSERA_CHECK_USAGE(kept() > 0 && kept() < patches(),
                      "mask ratio {} leaves {} of {} patches visible: at least one must be visible "
                      "and one removed",
                      mask_ratio, kept(), patches());
}

namespace {

const MaeConfig& checked(const MaeConfig& config) {
  config.check();
  return config;
}

}  // namespace

Mae::Mae(const MaeConfig& config)
    : config_(checked(config)),
      patch_embed_(config.channels, config.patch, config.dim),
      norm_(config.dim, config.norm_eps),
      decoder_embed_(config.dim, config.decoder_dim),
      decoder_norm_(config.decoder_dim, config.norm_eps),
      decoder_pred_(config.decoder_dim, config.patch_values()) {
  const int64_t tokens = 1 + config.patches();
  add_parameter("cls_token", cls_token_, {1, 1, config.dim});
  add_parameter("pos_embed", pos_embed_, {1, tokens, config.dim}, 0, StateKind::kFixed);
  add_parameter("mask_token", mask_token_, {1, 1, config.decoder_dim});
  add_parameter("decoder_pos_embed", decoder_pos_embed_, {1, tokens, config.decoder_dim}, 0,
                StateKind::kFixed);
  add_child("patch_embed", patch_embed_);
  add_child("blocks", blocks_);
  add_child("norm", norm_);
  add_child("decoder_embed", decoder_embed_);
  add_child("decoder_blocks", decoder_blocks_);
  add_child("decoder_norm", decoder_norm_);
  add_child("decoder_pred", decoder_pred_);
  for (int64_t i = 0; i < config.depth; ++i) {
    blocks_.append(BlockOptions{.dim = config.dim,
                                .heads = config.heads,
                                .mlp_hidden = config.hidden(config.dim),
                                .norm_eps = config.norm_eps});
  }
  for (int64_t i = 0; i < config.decoder_depth; ++i) {
    decoder_blocks_.append(BlockOptions{.dim = config.decoder_dim,
                                        .heads = config.decoder_heads,
                                        .mlp_hidden = config.hidden(config.decoder_dim),
                                        .norm_eps = config.norm_eps});
  }
  const int64_t height = config.grid_height(), width = config.grid_width();
  raw::copy_(pos_embed_, sincos_positions(config.dim, height, width));
  raw::copy_(decoder_pos_embed_, sincos_positions(config.decoder_dim, height, width));
}

Mae::Mae(const MaeConfig& config, uint64_t seed) : Mae(config) { initialize(seed); }

void Mae::initialize(uint64_t seed) {
  uint32_t index = 0;
  visit([&](const std::string& name, Tensor& t, StateKind kind) {
    const RandomKey key = init::weight_key(seed, index++);
    if (kind != StateKind::kTrained) return;
    if (name == "cls_token" || name == "mask_token") {
      init::normal_(t, key, 0, 0.02);
    } else if (name == "patch_embed.proj.bias") {
      // What PyTorch's convolution draws; the reference leaves it.
      const double bound = 1 / std::sqrt(static_cast<double>(config_.patch_values()));
      init::uniform_(t, key, -bound, bound);
    } else if (t.ndim() > 1) {
      init::xavier_uniform_(t, key);
    } else {
      raw::fill_(t, name.ends_with(".bias") ? 0 : 1);  // norms: weight 1
    }
  });
}

void Mae::check_images(const Tensor& imgs) const {
  const Shape expected = {imgs.ndim() > 0 ? imgs.size(0) : 0, config_.channels,
                          config_.image_height, config_.image_width};
  TESSERA_CHECK(imgs.shape() == expected, "[mae] the model wants pictures (B, {}, {}, {}), not {}",
                config_.channels, config_.image_height, config_.image_width, describe(imgs));
}

Tensor Mae::encode(const Tensor& imgs, const Tensor& ids_keep) const {
  check_images(imgs);
  const int64_t batch = imgs.size(0);
  Tensor vectors = patch_vectors(imgs, config_.patch);                // (B, L, C p p)
  Tensor positions = slice(pos_embed_, 1, 1, 1 + config_.patches());  // (1, L, D)
  if (ids_keep.defined()) {
    vectors = raw::take_rows(vectors, ids_keep);               // (B, K, C p p)
    positions = embedding(select(positions, 0, 0), ids_keep);  // (B, K, D)
  }
  const Tensor patches = patch_embed_(vectors) + positions;
  const Tensor cls = cls_token_ + slice(pos_embed_, 1, 0, 1);
  const Tensor x = cat({expand(cls, {batch, 1, config_.dim}), patches}, 1);  // (B, 1 + K, D)
  return norm_(run(blocks_, x));
}

Tensor Mae::run(const ModuleList<TransformerBlock>& blocks, Tensor x) const {
  for (const TransformerBlock& block : blocks) {
    x = checkpointing_ ? checkpointed([&block](const Tensor& in) { return block(in); }, x)
                       : block(x);
  }
  return x;
}

Tensor Mae::decode(const Tensor& latent, const Masking& masking) const {
  const int64_t batch = latent.size(0);
  const Tensor visible = decoder_embed_(latent);  // (B, 1 + K, E)
  // One mask token a picture is enough: every removed patch gathers the same row.
  const Tensor mask_token = expand(mask_token_, {batch, 1, config_.decoder_dim});
  const Tensor rows = cat({visible, mask_token}, 1);  // (B, 2 + K, E)
  return run(decoder_blocks_, take_rows(rows, masking.decoder_rows) + decoder_pos_embed_);
}

Tensor Mae::predict(const Tensor& tokens) const { return decoder_pred_(decoder_norm_(tokens)); }

Tensor Mae::target(const Tensor& patches) const {
  if (!config_.norm_pix_loss) return patches;
  const NoGrad no_grad;
  const Tensor centred = patches - mean(patches, {-1}, true);
  return centred / sqrt(var(patches, {-1}, true) + 1e-6);
}

MaeOutput Mae::forward(const Tensor& imgs, const Masking& masks, bool everything) const {
  check_images(imgs);
  TESSERA_CHECK(masks.patches() == config_.patches() && masks.ids_keep.size(0) == imgs.size(0),
                "[mae] masks {} do not fit {} pictures of {} patches", describe(masks.ids_restore),
                imgs.size(0), config_.patches());
  const Masking masking = masks.to(imgs.device());
  const Tensor latent = encode(imgs, masking.ids_keep);
  const Tensor tokens = decode(latent, masking);  // (B, 1 + L, E)
  const Tensor patches = unfold_patches(imgs, config_.patch);
  const Tensor wanted = target(raw::take_rows(patches, masking.ids_removed));  // (B, L - K, p p C)
  MaeOutput out;
  if (everything) {
    const Tensor pred = predict(tokens);  // (B, 1 + L, p p C)
    out.loss = mse_loss(take_rows(pred, masking.removed_tokens), wanted);
    out.latent = latent;
    out.pred = slice(pred, 1, 1, 1 + config_.patches());
    out.mask = masking.mask();
    out.ids_restore = masking.ids_restore;
  } else {
    out.loss = mse_loss(predict(take_rows(tokens, masking.removed_tokens)), wanted);
  }
  return out;
}

MaeOutput Mae::forward(const Tensor& imgs, const Tensor& noise, bool everything) const {
  return forward(imgs, random_masking(noise, config_.kept()), everything);
}

}  // namespace tessera
