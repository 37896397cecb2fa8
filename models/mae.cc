// The masked autoencoder: configuration, initial weights, encoder, decoder, loss.
#include "models/mae.h"

#include <cmath>

#include "autograd/functions.h"
#include "engine/raw.h"
#include "models/config.h"
#include "nn/checkpointed.h"
#include "nn/init.h"

namespace tessera {

void MaeConfig::check() const {
  check_patches(image_height, image_width, patch, channels);
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
  const Grid grid = config.grid();
  raw::copy_(pos_embed_, sincos_positions(config.dim, grid.rows, grid.columns));
  raw::copy_(decoder_pos_embed_, sincos_positions(config.decoder_dim, grid.rows, grid.columns));
}

Mae::Mae(const MaeConfig& config, uint64_t seed) : Mae(config) { initialize(seed); }

void Mae::initialize(uint64_t seed) {
  init::for_each_tensor(*this, seed, [&](const init::Entry& entry) {
    const auto& [name, t, kind, key] = entry;
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
  return encode(imgs, ids_keep, ids_keep.defined() ? tokens_of(ids_keep) : Tensor());
}

Tensor Mae::encode(const Tensor& imgs, const Tensor& ids, const Tensor& places) const {
  check_images(imgs);
  const Tensor vectors = patch_vectors(imgs, config_.patch, ids);  // (B, K, C p p)
  const Tensor x = place_tokens(patch_embed_(vectors), reshape(cls_token_, {-1}), {},
                                select(pos_embed_, 0, 0), places);  // (B, 1 + K, D)
  return norm_(run(blocks_, x)).normed;
}

Stream Mae::run(const ModuleList<TransformerBlock>& blocks, const Tensor& x) const {
  Stream stream{x};
  for (const TransformerBlock& block : blocks) {
    const auto step = [&block](const Tensor& in) { return block(in); };
    stream = checkpointing_ ? Stream{checkpointed(step, stream.x)} : block(stream);
  }
  return stream;
}

Stream Mae::decode(const Tensor& latent, const Masking& masking) const {
  // One mask token is enough: every removed patch takes the same row.
  const Tensor x =
      place_tokens(decoder_embed_(latent), reshape(mask_token_, {-1}), masking.decoder_rows,
                   select(decoder_pos_embed_, 0, 0), {});  // (B, 1 + L, E)
  return run(decoder_blocks_, x);
}

Tensor Mae::predict(const Tensor& tokens) const { return decoder_pred_(decoder_norm_(tokens)); }

MaeOutput Mae::forward(const Tensor& imgs, const Masking& masks, bool everything) const {
  check_images(imgs);
  TESSERA_CHECK(masks.patches() == config_.patches() && masks.ids_keep.size(0) == imgs.size(0),
                "[mae] masks {} do not fit {} pictures of {} patches", describe(masks.ids_restore),
                imgs.size(0), config_.patches());
  const Masking masking = masks.to(imgs.device());
  const Tensor latent = encode(imgs, masking.ids_keep, masking.visible_tokens);
  const Tensor tokens = decode(latent, masking).sum();  // (B, 1 + L, E)
  const auto loss_of = [&](const Tensor& removed) {     // predictions (B, L - K, p p C)
    return patch_loss(removed, imgs, masking.ids_removed, config_.patch, config_.norm_pix_loss);
  };
  MaeOutput out;
  if (everything) {
    const Tensor pred = predict(tokens);  // (B, 1 + L, p p C)
    out.loss = loss_of(take_rows(pred, masking.removed_tokens));
    out.latent = latent;
    out.pred = slice(pred, 1, 1, 1 + config_.patches());
    out.mask = masking.mask();
    out.ids_restore = masking.ids_restore;
  } else {
    out.loss = loss_of(predict(take_rows(tokens, masking.removed_tokens)));
  }
  return out;
}

MaeOutput Mae::forward(const Tensor& imgs, const Tensor& noise, bool everything) const {
  return forward(imgs, random_masking(noise, config_.kept()), everything);
}

}  // namespace tessera
