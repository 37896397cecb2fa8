// g += decay w; LARS: g *= trust |w| / |g|; m = momentum m + g; w -= lr m.
#include "train/probes/sgd.h"

#include <cmath>

#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera {

Sgd::Sgd(Module& model, const SgdOptions& options) : options_(options) {
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (!requires_grad(tensor)) continue;
    slots_.push_back({tensor, Tensor::zeros(tensor.shape(), tensor.dtype(), tensor.device())});
  }
}

void Sgd::zero_grad() {
  for (const Slot& slot : slots_) tessera::zero_grad(slot.parameter);
}

void Sgd::step(double lr) {
  const auto scaled = [](const Tensor& x, double factor) {
    const Tensor y = raw::clone(x);
    raw::scale_(y, factor);
    return y;
  };
  for (const Slot& slot : slots_) {
    const Tensor gradient = grad(slot.parameter);
    if (!gradient.defined()) continue;
    const Tensor g = raw::clone(gradient);
    if (slot.parameter.ndim() > 1) {
      if (options_.weight_decay != 0) raw::add_(g, scaled(slot.parameter, options_.weight_decay));
      if (options_.lars) {
        const double length = std::sqrt(raw::sum_squares(slot.parameter).item());
        const double update = std::sqrt(raw::sum_squares(g).item());
        if (length > 0 && update > 0) raw::scale_(g, options_.trust * length / update);
      }
    }
    raw::scale_(slot.momentum, options_.momentum);
    raw::add_(slot.momentum, g);
    raw::add_(slot.parameter, scaled(slot.momentum, -lr));
  }
}

}  // namespace tessera
