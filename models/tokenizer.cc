// What all tokenizers do alike: ids, Gumbel-softmax, KL.
#include "models/tokenizer.h"

#include <cmath>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

// ids (B, h, w) -> (B, V, h, w) of zeros and a one in each column.
Tensor one_hot(const Tensor& ids, int64_t vocab, DType dtype) {
  const int64_t b = ids.size(0), h = ids.size(1), w = ids.size(2);
  const Tensor ones = Tensor::full({b, 1, h, w}, 1, dtype, ids.device());
  return raw::scatter_add(Tensor::zeros({b, vocab, h, w}, dtype, ids.device()), 1,
                          raw::reshape(ids, {b, 1, h, w}), ones);
}

// KL(q || uniform) = sum over V of q ln(q V), q = softmax(logits), the mean over all positions.
// (The reference adds 1e-10 to q before its logarithm; log_softmax needs no such guard.)
Tensor kl_to_uniform(const Tensor& logits) {
  const Tensor log_q = log_softmax(logits, 1);
  return mean(sum(exp(log_q) * (log_q + std::log(double(logits.size(1)))), {1}));
}

}  // namespace

Tensor Tokenizer::encode(const Tensor& pictures) const {
  const NoGrad no_grad;
  const Tf32 exact(false);  // ids must not depend on how a run multiplies
  return raw::to(argmax(logits(prepare(raw::to(pictures, device()))), 1), pictures.device());
}

Tensor Tokenizer::decode(const Tensor& ids) const {
  const NoGrad no_grad;
  TESSERA_CHECK(ids.defined() && ids.ndim() == 3 && ids.dtype() == DType::kI64,
                "[tokenizer] token ids should be i64 (B, h, w), not {}", describe(ids));
  const Tensor mixture = one_hot(raw::to(ids, device()), vocab(), DType::kF32);
  return raw::to(picture(paint(mixture)), ids.device());
}

TokenizerOutput Tokenizer::forward(const Tensor& prepared, const Tensor& gumbel,
                                   const TokenizerStep& step) const {
  TokenizerOutput out;
  out.logits = logits(prepared);
  Tensor mixture = softmax((out.logits + gumbel) / step.temperature, 1);
  if (step.straight_through) {
    const Tensor hard = one_hot(argmax(mixture, 1), vocab(), mixture.dtype());
    mixture = hard - mixture.detach() + mixture;
  }
  out.raw = paint(mixture);
  out.reconstruction = reconstruction_loss(out.raw, prepared);
  out.kl = kl_to_uniform(out.logits);
  out.loss = out.reconstruction + out.kl * step.kl_weight;
  return out;
}

void Tokenizer::check_pictures(const Tensor& x, int64_t channels) const {
  TESSERA_CHECK(x.defined() && x.ndim() == 4 && x.size(1) == channels &&
                    x.size(2) % reduction() == 0 && x.size(3) % reduction() == 0,
                "[tokenizer] pictures should be (B, {}, H, W) with sides that are multiples of {}, "
                "not {}",
                channels, reduction(), describe(x));
}

Tensor gumbel_noise(const Shape& shape, RandomKey key, Device device) {
  // A uniform of 0, once in 2^24 draws, would give -infinity: half a step in its place.
  const Tensor u = clamp(raw::uniform(shape, key, 0, 1, DType::kF32, device), 0x1p-25, 1);
  return -log(-log(u));
}

}  // namespace tessera
