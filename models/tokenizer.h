// Visual tokenizers: a picture becomes a grid of token ids, and ids become a picture again. BEiT
// predicts these ids; the two families behind the interface are models/dvae.h and models/dalle.h.
// Both are discrete autoencoders and learn alike (Ramesh et al., 2021, arXiv 2102.12092, section
// 2.1): the encoder's logits are softened by Gumbel noise, and the decoder paints from the mixture.
// Rule: pictures are (B, C, H, W) f32 in [0, 1]; what a network wants to see instead is its own
// business (prepare), and only training and tests handle prepared pictures.
#pragma once

#include <cstdint>

#include "engine/philox.h"
#include "nn/module.h"

namespace tessera {

struct TokenizerOutput {
  Tensor loss;            // 0-d: reconstruction + kl_weight kl
  Tensor reconstruction;  // 0-d: the family's reconstruction loss, a mean over pixels and channels
  Tensor kl;              // 0-d: KL(softmax(logits) || uniform), nats, the mean over grid positions
  Tensor logits;          // (B, V, h, w)
  Tensor raw;             // what the decoder painted; see picture()
};

struct TokenizerStep {
  Tensor temperature;  // 0-d, positive; of the logits' dtype and device, as is the next
  Tensor kl_weight;    // 0-d, of a position's mean
  // The decoder sees the likeliest token alone, gradients flow as through the mixture.
  bool straight_through = false;
};

class Tokenizer : public Module {
 public:
  virtual int64_t vocab() const = 0;      // V
  virtual int64_t reduction() const = 0;  // pixels that a token spans, down and across

  // Pictures -> what the encoder wants to see, of the same shape.
  virtual Tensor prepare(const Tensor& pictures) const = 0;
  // Prepared pictures -> (B, V, H / reduction, W / reduction).
  virtual Tensor logits(const Tensor& prepared) const = 0;
  // A mixture of tokens (B, V, h, w), weights that sum to 1 over V -> the decoder's own output.
  virtual Tensor paint(const Tensor& mixture) const = 0;
  virtual Tensor reconstruction_loss(const Tensor& raw, const Tensor& prepared) const = 0;  // 0-d
  // The decoder's output -> pictures.
  virtual Tensor picture(const Tensor& raw) const = 0;
  virtual void initialize(uint64_t seed) = 0;

  // Without gradient, from any device: the work is done where the tokenizer is, the answer comes
  // back to where the question was.
  // Pictures -> token ids (B, h, w) i64.
  Tensor encode(const Tensor& pictures) const;
  // Token ids (B, h, w) i64 in [0, V) -> pictures.
  Tensor decode(const Tensor& ids) const;

  // One pass of training; gumbel (B, V, h, w) as from gumbel_noise().
  TokenizerOutput forward(const Tensor& prepared, const Tensor& gumbel,
                          const TokenizerStep& step) const;

 protected:
  // Error unless x is (B, channels, H, W) with H and W multiples of reduction().
  void check_pictures(const Tensor& x, int64_t channels) const;
};

// -log(-log u) for uniform u, f32, finite.
Tensor gumbel_noise(const Shape& shape, RandomKey key, Device device = Device::kCpu);

}  // namespace tessera
