// Down, codebook, up.
#include "models/dvae.h"

#include <cmath>

#include "autograd/functions.h"
#include "engine/raw.h"
#include "models/config.h"
#include "nn/init.h"

namespace tessera {

void DvaeConfig::check() const {
  TESSERA_CHECK_USAGE(channels > 0 && hidden > 0 && codebook_dim > 0,
                      "tokenizer channels {}, width {} and codebook width {} must be positive",
                      channels, hidden, codebook_dim);
  TESSERA_CHECK_USAGE(vocab > 1, "a vocabulary of {} tokens leaves nothing to choose", vocab);
  TESSERA_CHECK_USAGE(layers > 0 && layers < 12, "{} tokenizer layers: 1 to 11 are possible",
                      layers);
}

DvaeResidual::DvaeResidual(int64_t width)
    : first_(width, width, 3, 1, 1), second_(width, width, 3, 1, 1), last_(width, width, 1) {
  add_child("net", net_);
  net_.add_child("0", first_);
  net_.add_child("2", second_);
  net_.add_child("4", last_);
}

Tensor DvaeResidual::operator()(const Tensor& x) const {
  return last_(relu(second_(relu(first_(x))))) + x;
}

Dvae::Dvae(const DvaeConfig& config)
    : config_(checked(config)),
      codebook_(config.vocab, config.codebook_dim),
      to_logits_(config.hidden, config.vocab, 1),
      to_pixels_(config.hidden, config.channels, 1) {
  add_child("codebook", codebook_);
  add_child("encoder", encoder_);
  add_child("decoder", decoder_);
  const auto name = [](int64_t i) { return std::to_string(i); };
  for (int64_t i = 0; i < config.layers; ++i) {
    const int64_t width = config.hidden;
    auto& down = down_.emplace_back(width, i == 0 ? config.channels : width, width, 4, 2, 1);
    encoder_.add_child(name(2 * i), down.group);
    encoder_.add_child(name(2 * i + 1), down.residual);
    auto& up = up_.emplace_back(width, i == 0 ? config.codebook_dim : width, width, 4, 2, 1);
    decoder_.add_child(name(2 * i), up.group);
    decoder_.add_child(name(2 * i + 1), up.residual);
  }
  encoder_.add_child(name(2 * config.layers), to_logits_);
  decoder_.add_child(name(2 * config.layers), to_pixels_);
}

Dvae::Dvae(const DvaeConfig& config, uint64_t seed) : Dvae(config) { initialize(seed); }

void Dvae::initialize(uint64_t seed) {
  double bound = 0;
  init::for_each_tensor(*this, seed, [&](const init::Entry& entry) {
    const auto& [name, t, kind, key] = entry;
    if (name == "codebook.weight") {
      init::normal_(t, key, 0, 1);
      return;
    }
    // PyTorch takes a weight's second dimension for its inputs, in transposed convolutions too; a
    // bias, which follows its weight, has the weight's bound.
    if (t.ndim() == 4) bound = 1 / std::sqrt(double(t.numel() / t.size(0)));
    init::uniform_(t, key, -bound, bound);
  });
}

Tensor Dvae::prepare(const Tensor& pictures) const { return pictures * 2 - 1; }

Tensor Dvae::logits(const Tensor& prepared) const {
  check_pictures(prepared, config_.channels);
  Tensor x = prepared;
  for (const auto& stage : down_) x = stage.residual(relu(stage.conv(x)));
  return to_logits_(x);
}

Tensor Dvae::paint(const Tensor& mixture) const {
  const int64_t b = mixture.size(0), h = mixture.size(2), w = mixture.size(3);
  // (D, V) times (B, V, h w): each position's mean entry.
  const Tensor entries =
      matmul(transpose(codebook_.weight(), 0, 1), reshape(mixture, {b, config_.vocab, h * w}));
  Tensor x = reshape(entries, {b, config_.codebook_dim, h, w});
  for (const auto& stage : up_) x = stage.residual(relu(stage.conv(x)));
  return to_pixels_(x);
}

Tensor Dvae::reconstruction_loss(const Tensor& raw, const Tensor& prepared) const {
  return config_.smooth_l1_loss ? smooth_l1_loss(raw, prepared) : mse_loss(raw, prepared);
}

Tensor Dvae::picture(const Tensor& raw) const { return clamp(raw * 0.5 + 0.5, 0, 1); }

}  // namespace tessera
