// The small layers: each holds its parameters and calls one op of autograd/functions.h.
// Rule: names and shapes of parameters are PyTorch's; no layer draws its own initial weights.
#pragma once

#include "autograd/functions.h"
#include "nn/module.h"

namespace tessera {

// y = x w^T + b: x (..., in) -> (..., out). weight (out, in), bias (out,).
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, bool with_bias = true);
  Tensor operator()(const Tensor& x) const;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  // undefined without one

 private:
  Tensor weight_, bias_;
};

// A residual stream between two steps: x + branch. The addition is left to the norm that comes
// next, which makes it in its own pass.
struct Stream {
  Tensor x;
  Tensor branch = {};  // like x; undefined: nothing to add

  Tensor sum() const;
};

// Over the last dimension; weight and bias (dim,).
class LayerNorm : public Module {
 public:
  LayerNorm(int64_t dim, double eps);
  Tensor operator()(const Tensor& x) const;
  NormedSum operator()(const Stream& in) const;  // the stream's sum, and that normed

 private:
  double eps_;
  Tensor weight_, bias_;
};

// x (N, C, ...), normalised over all dimensions but C. In training by the batch's biased variance,
// else by running_mean and running_var (C,), which follow the batches with `momentum` and keep the
// unbiased variance; num_batches_tracked () i64 counts them. torch.nn.BatchNorm1d/2d.
class BatchNorm : public Module {
 public:
  explicit BatchNorm(int64_t channels, double eps = 1e-5, double momentum = 0.1,
                     bool affine = true);
  Tensor operator()(const Tensor& x);

 private:
  void follow(const Tensor& mean, const Tensor& var, int64_t count);

  double eps_, momentum_;
  Tensor weight_, bias_;  // undefined without affine
  Tensor running_mean_, running_var_, num_batches_tracked_;
};

// x (N, in, H, W) -> (N, out, oh, ow). weight (out, in, kernel, kernel), bias (out,).
class Conv2d : public Module {
 public:
  Conv2d(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0);
  Tensor operator()(const Tensor& x) const;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  int64_t stride_, padding_;
  Tensor weight_, bias_;
};

// x (N, in, H, W) -> (N, out, (H - 1) stride - 2 padding + kernel, ...). weight (in, out, kernel,
// kernel), bias (out,).
class ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0);
  Tensor operator()(const Tensor& x) const;

 private:
  int64_t stride_, padding_;
  Tensor weight_, bias_;
};

// index i64 (...) -> (..., dim). weight (count, dim).
class Embedding : public Module {
 public:
  Embedding(int64_t count, int64_t dim);
  Tensor operator()(const Tensor& index) const;
  const Tensor& weight() const { return weight_; }

 private:
  Tensor weight_;
};

// In training zeroes elements with probability p and scales the rest by 1 / (1 - p); needs a
// StepRandom then. Outside training, or with p = 0, x itself.
class Dropout : public Module {
 public:
  explicit Dropout(double p);
  Tensor operator()(const Tensor& x) const;

 private:
  double p_;
};

// The same for whole samples, the first dimension: stochastic depth (Huang et al., 2016).
class DropPath : public Module {
 public:
  explicit DropPath(double p);
  Tensor operator()(const Tensor& x) const;

 private:
  double p_;
};

}  // namespace tessera
