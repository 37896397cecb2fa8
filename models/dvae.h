// The discrete VAE of the BEiT repository (modeling_discrete_vae.py): stride-2 convolutions down to
// a grid, a codebook of tokens, transposed convolutions back up. The tokenizer one trains oneself.
// Rule: names, shapes and initial weights of the state dict are the reference's. Its KL term is a
// sum over batch and grid where ours is a mean (TokenizerStep::kl_weight: theirs times B h w).
#pragma once

#include <deque>

#include "models/tokenizer.h"
#include "nn/layers.h"

namespace tessera {

struct DvaeConfig {
  int64_t channels = 3;
  int64_t vocab = 8192;         // num_tokens
  int64_t codebook_dim = 512;   // width of a token's entry
  int64_t layers = 3;           // each halves the sides: a token spans 2^layers pixels
  int64_t hidden = 256;         // width of all convolutions
  bool smooth_l1_loss = false;  // else mean square error

  // A UsageError, one line with the values, for a model that cannot be built.
  void check() const;
};

// x + net(x): convolutions 3, 3, 1 with ReLUs between, names net.0, net.2, net.4.
class DvaeResidual : public Module {
 public:
  explicit DvaeResidual(int64_t width);
  Tensor operator()(const Tensor& x) const;

 private:
  ModuleGroup net_;
  Conv2d first_, second_, last_;
};

class Dvae : public Tokenizer {
 public:
  // Weights drawn from the seed.
  Dvae(const DvaeConfig& config, uint64_t seed);
  // For weights that are loaded next: all zero.
  explicit Dvae(const DvaeConfig& config);

  const DvaeConfig& config() const { return config_; }

  // PyTorch's defaults, which the reference leaves: convolutions U(+-1/sqrt(fan_in)), the codebook
  // N(0, 1).
  void initialize(uint64_t seed) override;

  int64_t vocab() const override { return config_.vocab; }
  int64_t reduction() const override { return int64_t{1} << config_.layers; }
  Tensor prepare(const Tensor& pictures) const override;  // to [-1, 1]
  Tensor logits(const Tensor& prepared) const override;
  Tensor paint(const Tensor& mixture) const override;  // prepared pictures
  Tensor reconstruction_loss(const Tensor& raw, const Tensor& prepared) const override;
  Tensor picture(const Tensor& raw) const override;

 private:
  // A strided convolution (names i.0), then a residual block (i + 1).
  template <class Conv>
  struct Stage {
    ModuleGroup group;
    Conv conv;
    DvaeResidual residual;
    template <class... Args>
    explicit Stage(int64_t width, Args... args) : conv(args...), residual(width) {
      group.add_child("0", conv);
    }
  };

  DvaeConfig config_;
  Embedding codebook_;  // (V, codebook_dim)
  ModuleGroup encoder_, decoder_;
  std::deque<Stage<Conv2d>> down_;
  Conv2d to_logits_;
  std::deque<Stage<ConvTranspose2d>> up_;
  Conv2d to_pixels_;
};

}  // namespace tessera
