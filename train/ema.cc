// One shadow a parameter.
#include "train/ema.h"

#include <algorithm>

#include "engine/raw.h"

namespace tessera {

WeightAverage::WeightAverage(AdamW& optimizer, double decay)
    : optimizer_(optimizer), decay_(decay) {
  for (const AdamW::Slot& slot : optimizer.slots()) {
    shadows_.push_back(raw::clone(slot.parameter.detach()));
  }
}

void WeightAverage::update() {
  const auto updates = static_cast<double>(optimizer_.steps());
  const double decay = std::min(decay_, (1 + updates) / (10 + updates));
  const ScalarArgs share{1 - decay};
  for (size_t i = 0; i < shadows_.size(); ++i) {
    raw::scale_(shadows_[i], decay);
    raw::add_(shadows_[i],
              raw::unary(UnaryOp::kMulScalar, optimizer_.slots()[i].parameter.detach(), share));
  }
}

void WeightAverage::swap() {
  for (size_t i = 0; i < shadows_.size(); ++i) {
    const Tensor weight = optimizer_.slots()[i].parameter.detach();
    const Tensor before = raw::clone(weight);
    raw::copy_(weight, shadows_[i]);
    raw::copy_(shadows_[i], before);
  }
}

std::vector<NamedTensor> WeightAverage::tensors() const {
  std::vector<NamedTensor> named;
  for (size_t i = 0; i < shadows_.size(); ++i) {
    named.push_back({"ema/" + optimizer_.slots()[i].name, shadows_[i]});
  }
  return named;
}

}  // namespace tessera
