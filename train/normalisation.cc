// Two broadcasts.
#include "train/normalisation.h"

#include "autograd/functions.h"
#include "autograd/tape.h"

namespace tessera {
namespace {

// (C) values as (1, C, 1, 1), to broadcast over pictures.
Tensor per_channel(const std::vector<float>& values) {
  return Tensor::from(values, {1, static_cast<int64_t>(values.size()), 1, 1});
}

}  // namespace

Tensor Normalisation::apply(const Tensor& pictures) const {
  const NoGrad no_grad;
  return (pictures - per_channel(mean)) / per_channel(std);
}

Tensor Normalisation::undo(const Tensor& seen) const {
  const NoGrad no_grad;
  return seen * per_channel(std) + per_channel(mean);
}

}  // namespace tessera
