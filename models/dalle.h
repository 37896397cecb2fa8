// The discrete VAE of DALL-E (Ramesh et al., 2021, arXiv 2102.12092; code openai/DALL-E, dall_e/):
// the tokenizer of the published BEiT models.
// Rule: names and shapes of each half's state dict are the official ones (weights w and b), so that
// the published files, once converted, go in as they are. They are stored in f16; loading widens.
#pragma once

#include <array>
#include <deque>
#include <optional>

#include "models/tokenizer.h"

namespace tessera {

struct DalleConfig {
  int64_t channels = 3, vocab = 8192;
  int64_t width = 256;           // n_hid; the groups are 1, 2, 4 and 8 times as wide
  int64_t blocks_per_group = 2;  // n_blk_per_group
  int64_t decoder_width = 128;   // n_init: of the decoder's first layer

  // A UsageError, one line with the values, for a model that cannot be built.
  void check() const;
};

// A convolution that keeps the picture's size: w (out, in, k, k) with k odd, b (out,).
class DalleConv : public Module {
 public:
  DalleConv(int64_t in, int64_t out, int64_t kernel);
  Tensor operator()(const Tensor& x) const;

 private:
  int64_t padding_;
  Tensor w_, b_;
};

// id_path(x) + gain * res_path(x); res_path is four convolutions, a ReLU before each, a quarter of
// `out` wide inside.
class DalleBlock : public Module {
 public:
  DalleBlock(int64_t in, int64_t out, const std::array<int64_t, 4>& kernels, double gain);
  Tensor operator()(const Tensor& x) const;

 private:
  double gain_;
  std::optional<DalleConv> id_path_;  // only where the width changes
  ModuleGroup res_path_;
  std::deque<DalleConv> convs_;
};

// Encoder or decoder: a convolution, four groups of blocks with the sides halved (maximum) or
// doubled (nearest) between them, ReLU, a 1 x 1 convolution.
class DalleHalf : public Module {
 public:
  enum Kind { kEncoder, kDecoder };
  DalleHalf(const DalleConfig& config, Kind kind);
  // Encoder: (B, channels, H, W) -> (B, vocab, H / 8, W / 8); decoder: (B, vocab, h, w) ->
  // (B, 2 channels, 8 h, 8 w), first the means mu, then ln b, of a logit-Laplace distribution.
  Tensor operator()(const Tensor& x) const;

 private:
  Kind kind_;
  ModuleGroup blocks_, output_;
  std::array<ModuleGroup, 4> groups_;
  std::array<std::deque<DalleBlock>, 4> group_blocks_;
  DalleConv first_, last_;
};

class Dalle : public Tokenizer {
 public:
  // Weights drawn from the seed.
  Dalle(const DalleConfig& config, uint64_t seed);
  // For weights that are loaded next: all zero.
  explicit Dalle(const DalleConfig& config);

  const DalleConfig& config() const { return config_; }
  DalleHalf& encoder() { return encoder_; }  // the published files hold one half each
  DalleHalf& decoder() { return decoder_; }

  // w N(0, 1 / (in k k)), b 0.
  void initialize(uint64_t seed) override;

  int64_t vocab() const override { return config_.vocab; }
  int64_t reduction() const override { return 8; }
  Tensor prepare(const Tensor& pictures) const override;  // to [0.1, 0.9], where logit is finite
  Tensor logits(const Tensor& prepared) const override;
  Tensor paint(const Tensor& mixture) const override;  // (B, 2 channels, H, W)
  // -ln f(x | mu, b) = ln(2 b x (1 - x)) + |logit(x) - mu| / b, the mean over the picture
  // (appendix A.3).
  Tensor reconstruction_loss(const Tensor& raw, const Tensor& prepared) const override;
  Tensor picture(const Tensor& raw) const override;  // from sigmoid(mu)

 private:
  DalleConfig config_;
  DalleHalf encoder_, decoder_;
};

}  // namespace tessera
