// How well classes can be told by an encoder's features while it is being pre-trained: a small
// ridge probe and its neighbours, again and again on the same pictures.
// Rule: it looks and changes nothing, so that a run with it ends with the same bytes as one
// without.
#pragma once

#include <string>

#include "models/encoder.h"
#include "train/normalisation.h"
#include "train/training.h"

namespace tessera {

class OnlineProbe {
 public:
  // At most 2,000 training pictures with their labels, 1,000 held-out ones to judge, both spread
  // over their sets. UsageError: pictures without classes, or none held out.
  OnlineProbe(const TrainingData& data, const TrainingRecipe& recipe);

  // Top 1 as shares, on class token and mean of the patches side by side: "probe_ridge",
  // "probe_knn". The summary is one line to be said, without the step.
  struct Result {
    Figures figures;
    std::string summary;
  };
  Result measure(const VitEncoder& encoder) const;

 private:
  EvaluationReader taught_, judged_;
  Normalisation normalisation_;
  int64_t classes_;
};

}  // namespace tessera
