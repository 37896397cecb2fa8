// The encoder out of a checkpoint, whatever trained it.
// Rule: a checkpoint is foreign data: whatever is wrong with it is one line that names the file.
#pragma once

#include <memory>

#include "models/encoder.h"
#include "train/checkpoint.h"
#include "train/normalisation.h"

namespace tessera {

struct TrainedEncoder {
  std::unique_ptr<VitEncoder> model;
  Normalisation normalisation;  // of the pictures it learned on
};

// An Error for a checkpoint of something that has no such encoder, or with weights that do not fit.
TrainedEncoder trained_encoder(const Checkpoint& checkpoint);

}  // namespace tessera
