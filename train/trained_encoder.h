// The encoder out of a checkpoint, whatever trained it, to be looked at (models/encoder.h).
// Rule: a checkpoint is foreign data: whatever is wrong with it is one line that names the file.
#pragma once

#include <memory>
#include <string>

#include "models/encoder.h"
#include "train/checkpoint.h"
#include "train/normalisation.h"

namespace tessera {

struct TrainedEncoder {
  std::string arch;
  std::unique_ptr<VitEncoder> model;
  Normalisation normalisation;  // of the pictures it learned on
};

// With the weights that the training's own evaluations judged. UsageError: the checkpoint of a task
// that trains no encoder. Error: weights that do not fit.
TrainedEncoder trained_encoder(const Checkpoint& checkpoint);

}  // namespace tessera
