// The small layers.
#include "nn/layers.h"

#include "autograd/tape.h"
#include "engine/raw.h"
#include "nn/step_random.h"

namespace tessera {

Linear::Linear(int64_t in, int64_t out, bool with_bias) {
  add_parameter("weight", weight_, {out, in});
  if (with_bias) add_parameter("bias", bias_, {out});
}

Tensor Linear::operator()(const Tensor& x) const { return linear(x, weight_, bias_); }

LayerNorm::LayerNorm(int64_t dim, double eps) : eps_(eps) {
  add_parameter("weight", weight_, {dim}, 1);
  add_parameter("bias", bias_, {dim});
}

Tensor Stream::sum() const { return branch.defined() ? x + branch : x; }

Tensor LayerNorm::operator()(const Tensor& x) const { return layer_norm(x, weight_, bias_, eps_); }
NormedSum LayerNorm::operator()(const Stream& in) const {
  if (!in.branch.defined()) return {in.x, (*this)(in.x)};
  return add_layer_norm(in.x, in.branch, weight_, bias_, eps_);
}

BatchNorm::BatchNorm(int64_t channels, double eps, double momentum, bool affine)
    : eps_(eps), momentum_(momentum) {
  if (affine) {
    add_parameter("weight", weight_, {channels}, 1);
    add_parameter("bias", bias_, {channels});
  }
  add_buffer("running_mean", running_mean_, {channels});
  add_buffer("running_var", running_var_, {channels}, 1);
  add_buffer("num_batches_tracked", num_batches_tracked_, {}, 0, DType::kI64);
}

Tensor BatchNorm::operator()(const Tensor& x) {
  TESSERA_CHECK(x.ndim() >= 2 && x.size(1) == running_mean_.numel(),
                "[batch_norm] x {} should have {} channels in dimension 1", describe(x),
                running_mean_.numel());
  if (training()) {
    BatchStatistics batch;
    const Tensor y = batch_norm_train(x, weight_, bias_, eps_, &batch);
    follow(batch.mean, batch.var, x.numel() / x.size(1));
    return y;
  }
  Shape per_channel = Shape::filled(x.ndim(), 1);  // (1, C, 1, ...)
  per_channel[1] = x.size(1);
  Tensor scale = rsqrt(running_var_ + eps_);  // (C,)
  if (weight_.defined()) scale = scale * weight_;
  Tensor shift = -(running_mean_ * scale);
  if (bias_.defined()) shift = shift + bias_;
  return x * reshape(scale, per_channel) + reshape(shift, per_channel);
}

// running = (1 - momentum) running + momentum batch, off the tape.
void BatchNorm::follow(const Tensor& mean, const Tensor& var, int64_t count) {
  const NoGrad no_grad;
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  raw::scale_(running_mean_, 1 - momentum_);
  raw::add_(running_mean_, mul_scalar(mean.detach(), momentum_));
  raw::scale_(running_var_, 1 - momentum_);
  raw::add_(running_var_, mul_scalar(var.detach(), momentum_ * unbiased));
  raw::fill_(num_batches_tracked_, num_batches_tracked_.item() + 1);
}

Conv2d::Conv2d(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding)
    : stride_(stride), padding_(padding) {
  add_parameter("weight", weight_, {out, in, kernel, kernel});
  add_parameter("bias", bias_, {out});
}

Tensor Conv2d::operator()(const Tensor& x) const {
  return conv2d(x, weight_, bias_, stride_, padding_);
}

ConvTranspose2d::ConvTranspose2d(int64_t in, int64_t out, int64_t kernel, int64_t stride,
                                 int64_t padding)
    : stride_(stride), padding_(padding) {
  add_parameter("weight", weight_, {in, out, kernel, kernel});
  add_parameter("bias", bias_, {out});
}

Tensor ConvTranspose2d::operator()(const Tensor& x) const {
  return conv_transpose2d(x, weight_, bias_, stride_, padding_);
}

Embedding::Embedding(int64_t count, int64_t dim) { add_parameter("weight", weight_, {count, dim}); }

Tensor Embedding::operator()(const Tensor& index) const { return embedding(weight_, index); }

Dropout::Dropout(double p) : p_(p) {
  TESSERA_CHECK_USAGE(p >= 0 && p < 1, "[dropout] probability {} is outside [0, 1)", p);
}

Tensor Dropout::operator()(const Tensor& x) const {
  if (!training() || p_ == 0) return x;
  return dropout(x, p_, StepRandom::current("dropout").next());
}

DropPath::DropPath(double p) : p_(p) {
  TESSERA_CHECK_USAGE(p >= 0 && p < 1, "[drop_path] probability {} is outside [0, 1)", p);
}

Tensor DropPath::operator()(const Tensor& x) const {
  if (!training() || p_ == 0) return x;
  return drop_path(x, p_, StepRandom::current("drop_path").next());
}

}  // namespace tessera
