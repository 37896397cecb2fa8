// What belongs to the pictures a model was trained on: it sees (x - mean) / std of x in [0, 1].
#pragma once

#include <vector>

#include "engine/tensor.h"

namespace tessera {

struct Normalisation {
  std::vector<float> mean, std;  // one a channel

  // pictures (B, C, H, W) in [0, 1] -> what the model sees; and back. No gradient.
  Tensor apply(const Tensor& pictures) const;
  Tensor undo(const Tensor& seen) const;
};

}  // namespace tessera
