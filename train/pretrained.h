// The encoder in a checkpoint, whichever training made it.
// Rule: the recipe in the checkpoint says what the encoder is; a checkpoint without an encoder is
// refused by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/encoder.h"
#include "models/vit.h"
#include "train/checkpoint.h"

namespace tessera {

struct PretrainedEncoder {
  std::string arch;
  VitConfig config;  // of the tower as it was trained, for the pictures that it was trained on
  FinalNorm final_norm;
  std::vector<float> mean, std;      // that the encoder expects, one a channel
  std::vector<std::string> classes;  // of the head that a fine-tuning put on it; else empty
  // Which weights these are: task, step and a sum over the recipe, of which they are a function.
  std::string id;
};

// UsageError: the checkpoint of a task that trains no encoder.
PretrainedEncoder encoder_in(const Checkpoint& checkpoint);

// Random weights, drawn from `seed` as the checkpoint's pre-training draws its first; of a
// classifier a classifier's own, whatever encoder it was made of. An Error as above.
std::map<std::string, Tensor> untrained_weights(const Checkpoint& checkpoint, uint64_t seed);

}  // namespace tessera
