// The moving average of the weights: after update t (from 1) shadow = d * shadow + (1 - d) * weight
// in f32, with d = min(decay, (1 + t) / (10 + t)): early on the average is short, so that the
// first, random weights are soon forgotten (timm's ModelEma with that warm-up). AdamW's kernel
// keeps it (AdamWOptions::average_decay); here it is shown: evaluations judge it. Rule: it averages
// trained parameters alone; what does not learn is the model's own.
#pragma once

#include <vector>

#include "train/adamw.h"

namespace tessera {

class WeightAverage {
 public:
  // The optimizer keeps an average, and its arenas must outlive this.
  explicit WeightAverage(const AdamW& optimizer);

  // Exchanges the model's weights with the averaged ones; a second call undoes the first.
  void swap();
  // "ema/<parameter>", views of the average.
  std::vector<NamedTensor> tensors() const;

 private:
  const AdamW& optimizer_;
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
