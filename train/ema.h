// The moving average of the weights: shadow = decay * shadow + (1 - decay) * weight after every
// update, in f32 (timm's ModelEmaV2, which the references use). Evaluations judge the average.
// Rule: it starts as a copy of the first weights and averages trained parameters alone; what does
// not learn is the model's own.
#pragma once

#include <vector>

#include "train/adamw.h"

namespace tessera {

class WeightAverage {
 public:
  // decay in (0, 1). The optimizer's arenas must outlive it.
  WeightAverage(AdamW& optimizer, double decay);

  void update();
  // Exchanges the model's weights with the averaged ones; a second call undoes the first.
  void swap();
  // "ema/<parameter>", views of the shadow.
  std::vector<NamedTensor> tensors() const;

 private:
  AdamW& optimizer_;
  double decay_;
  std::vector<Tensor> shadows_;  // in the order of the optimizer's slots
};

// The average for as long as it lives; nothing when there is none.
class AveragedWeights {
 public:
  explicit AveragedWeights(WeightAverage* average) : average_(average) {
    if (average_ != nullptr) average_->swap();
  }
  ~AveragedWeights() {
    if (average_ != nullptr) average_->swap();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  WeightAverage* average_;
};

}  // namespace tessera
