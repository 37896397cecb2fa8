// Exchanged and named, parameter by parameter.
#include "train/ema.h"

#include "engine/raw.h"

namespace tessera {

WeightAverage::WeightAverage(const AdamW& optimizer) : optimizer_(optimizer) {
  TESSERA_CHECK(optimizer.slots()[0].average.defined(),
                "[ema] the optimizer keeps no average of the weights");
}

void WeightAverage::swap() {
  for (const AdamW::Slot& slot : optimizer_.slots()) {
    const Tensor weight = slot.parameter.detach();
    const Tensor before = raw::clone(weight);
    raw::copy_(weight, slot.average);
    raw::copy_(slot.average, before);
  }
}

std::vector<NamedTensor> WeightAverage::tensors() const {
  std::vector<NamedTensor> named;
  for (const AdamW::Slot& slot : optimizer_.slots()) {
    named.push_back({"ema/" + slot.name, slot.average});
  }
  return named;
}

}  // namespace tessera
