// The shared tower, and the classifier on top of it.
#include "models/vit.h"

#include <charconv>
#include <cmath>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/config.h"
#include "nn/checkpointed.h"
#include "nn/init.h"

namespace tessera {

BlockOptions VitConfig::block(int64_t i) const {
  return {.dim = dim,
          .heads = heads,
          .mlp_hidden = hidden(),
          .head_dim = head_dim,
          .norm_eps = norm_eps,
          .qkv_bias = qkv_bias,
          .relative_grid = relative_bias == RelativeBias::kPerBlock ? grid() : Grid{},
          .layer_scale = layer_scale,
          .drop_path = depth > 1 ? drop_path * double(i) / double(depth - 1) : 0};
}

void VitConfig::check() const {
  check_patches(image_height, image_width, patch, channels);
  TESSERA_CHECK_USAGE(dim > 0 && depth > 0, "width {} and depth {} must be at least 1", dim, depth);
  TESSERA_CHECK_USAGE(heads > 0 && head_dim >= 0 && (head_dim > 0 || dim % heads == 0),
                      "width {} does not divide into {} heads", dim, heads);
  TESSERA_CHECK_USAGE(mlp_ratio > 0 && hidden() > 0, "MLP ratio {} is too small", mlp_ratio);
  TESSERA_CHECK_USAGE(layer_scale >= 0 && std::isfinite(layer_scale),
                      "layer scale {} must be a number from 0 on", layer_scale);
  TESSERA_CHECK_USAGE(drop_path >= 0 && drop_path < 1, "drop path {} is outside [0, 1)", drop_path);
  TESSERA_CHECK_USAGE(norm_eps > 0, "norm eps {} must be positive", norm_eps);
}

std::optional<int64_t> block_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blocks.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t block = 0;
  const char *first = name.data() + kPrefix.size(), *last = name.data() + name.size();
  const auto [end, error] = std::from_chars(first, last, block);
  if (error != std::errc() || end == last || *end != '.') return std::nullopt;
  return block;
}

int64_t layer_of(std::string_view name, int64_t depth) {
  if (const auto block = block_of(name)) return *block + 1;
  const bool first = name == "cls_token" || name == "mask_token" || name == "pos_embed" ||
                     name.starts_with("patch_embed.");
  return first ? 0 : depth + 1;
}

VitTrunk::VitTrunk(const VitConfig& config, bool with_mask_token)
    : config_(config), patch_embed_(config.channels, config.patch, config.dim) {
  add_parameter("cls_token", cls_token_, {1, 1, config.dim});
  if (with_mask_token) add_parameter("mask_token", mask_token_, {1, 1, config.dim});
  if (config.absolute_positions) {
    add_parameter("pos_embed", pos_embed_, {1, 1 + config.patches(), config.dim});
  }
  add_child("patch_embed", patch_embed_);
  if (config.relative_bias == RelativeBias::kShared) {
    rel_pos_bias_.emplace(config.grid(), config.heads);
    add_child("rel_pos_bias", *rel_pos_bias_);
  }
  add_child("blocks", blocks_);
  for (int64_t i = 0; i < config.depth; ++i) blocks_.append(config.block(i));
}

void VitTrunk::train_last_blocks(int64_t count) {
  TESSERA_CHECK_USAGE(count >= 0 && count <= config_.depth,
                      "the last {} blocks cannot be trained: the model has {}", count,
                      config_.depth);
  frozen_blocks_ = config_.depth - count;
  visit([&](const std::string& name, Tensor& tensor, StateKind kind) {
    if (kind != StateKind::kTrained) return;
    // A shared bias enters the first block; a gradient for it would run through all of them.
    const bool frozen =
        layer_of(name, config_.depth) <= frozen_blocks_ || name.starts_with("rel_pos_bias.");
    set_requires_grad(tensor, !frozen);
  });
}

Tensor VitTrunk::shared_bias() const { return rel_pos_bias_ ? (*rel_pos_bias_)() : Tensor(); }

Tensor VitTrunk::attention_of(int64_t block, const Tensor& tokens) const {
  return blocks_[static_cast<size_t>(block)].attention_probabilities(tokens, shared_bias());
}

Tensor VitTrunk::run(const Tensor& imgs, const Tensor& mask, const Look& look) const {
  const int64_t batch = imgs.ndim() > 0 ? imgs.size(0) : 0, patches = config_.patches();
  const Shape expected = {batch, config_.channels, config_.image_height, config_.image_width};
  TESSERA_CHECK(imgs.shape() == expected, "[vit] the model wants pictures (B, {}, {}, {}), not {}",
                config_.channels, config_.image_height, config_.image_width, describe(imgs));
  Tensor x = patch_embed_(patch_vectors(imgs, config_.patch));  // (B, L, D)
  if (mask.defined()) {
    TESSERA_CHECK(mask.shape() == Shape({batch, patches}), "[vit] mask {} does not fit ({}, {})",
                  describe(mask), batch, patches);
    x = where(raw::reshape(mask, {batch, patches, 1}), mask_token_, x);
  }
  x = cat({expand(cls_token_, {batch, 1, config_.dim}), x}, 1);  // (B, 1 + L, D)
  if (pos_embed_.defined()) x = x + pos_embed_;
  Stream stream{x};
  for (int64_t i = 0; i < config_.depth; ++i) {
    if (look) look(i, stream.sum());
    const TransformerBlock& block = blocks_[static_cast<size_t>(i)];
    // A shared bias is looked up for each block: a block that runs again in the backward pass then
    // depends on its input and on parameters alone.
    const bool runs_again = checkpointing_ && i >= frozen_blocks_;  // others have no backward pass
    const auto step = [this, &block](const Tensor& in) { return block(in, shared_bias()); };
    stream = runs_again ? Stream{checkpointed(step, stream.sum())} : block(stream, shared_bias());
  }
  x = stream.sum();
  if (look) look(config_.depth, x);
  return x;
}

void VitTrunk::initialize_with(uint64_t seed, const Draw& draw) {
  init::for_each_tensor(*this, seed, [&](const init::Entry& entry) {
    const auto& [name, t, kind, key] = entry;
    if (kind == StateKind::kBuffer) return;
    if (name.ends_with("relative_position_bias_table")) {
      raw::fill_(t, 0);
    } else if (t.ndim() > 1 || name == "patch_embed.proj.bias") {
      draw(name, t, key);
    } else if (name.ends_with("gamma_1") || name.ends_with("gamma_2")) {
      raw::fill_(t, config_.layer_scale);
    } else {
      raw::fill_(t, name.ends_with("bias") ? 0 : 1);  // norms: weight 1
    }
    const bool ends_half = name.ends_with("attn.proj.weight") || name.ends_with("mlp.fc2.weight");
    if (config_.rescale_blocks && ends_half) {
      raw::scale_(t, 1 / std::sqrt(2.0 * double(*block_of(name) + 1)));
    }
  });
}

void ClassifierConfig::check() const {
  VitConfig::check();
  TESSERA_CHECK_USAGE(classes > 0, "a classifier of {} classes: at least one is needed", classes);
}

VitClassifier::VitClassifier(const ClassifierConfig& config)
    : VitTrunk(checked(config), false),
      config_(config),
      norm_(config.dim, config.norm_eps),
      head_(config.dim, config.classes) {
  add_child(config.pooling == Pooling::kMean ? "fc_norm" : "norm", norm_);
  add_child("head", head_);
}

VitClassifier::VitClassifier(const ClassifierConfig& config, uint64_t seed)
    : VitClassifier(config) {
  initialize(seed);
}

void VitClassifier::initialize(uint64_t seed) {
  // What PyTorch's convolution draws; the references leave it.
  const double bound = 1 / std::sqrt(double(config_.patch_values()));
  initialize_with(seed, [bound](const std::string& name, const Tensor& t, RandomKey key) {
    if (name.starts_with("patch_embed.")) {
      init::uniform_(t, key, -bound, bound);
    } else {
      init::normal_(t, key, 0, name == "head.weight" ? 2e-5 : 0.02);
    }
  });
}

Tensor VitClassifier::features(const Tensor& imgs) const {
  const Tensor x = run(imgs);  // (B, 1 + L, D)
  return norm_(config_.pooling == Pooling::kMean ? mean(slice(x, 1, 1, 1 + config_.patches()), {1})
                                                 : select(x, 1, 0));
}

Tensor VitClassifier::operator()(const Tensor& imgs) const { return head_(features(imgs)); }

}  // namespace tessera
