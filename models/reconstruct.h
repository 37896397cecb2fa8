// A masked autoencoder's answer as pictures.
// Rule: everything stays in the normalised space of the input; whoever draws applies the data set's
// mean and deviation. A norm-pix model knows patches only up to mean and deviation, so its
// prediction is un-normalised with those of the TRUE patch: it borrows from the answer, and
// whoever shows or scores it must say so.
#pragma once

#include "models/mae.h"

namespace tessera {

struct Reconstruction {  // each (B, C, H, W) f32, no gradient
  Tensor masked;         // the picture with 0 (the data set's mean colour) in removed patches
  Tensor predicted;      // the model's word on every patch
  Tensor pasted;         // the picture where it is visible, the prediction where removed
  Tensor removed;        // (B, 1, H, W): 1 in removed patches, 0 elsewhere
};

Reconstruction reconstruct(const Mae& model, const Tensor& imgs, const Masking& masking);
Reconstruction reconstruct(const Mae& model, const Tensor& imgs, const Tensor& noise);

}  // namespace tessera
