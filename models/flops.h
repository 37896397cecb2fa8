// What a masked autoencoder costs, from its configuration alone.
// Rule: counts what this program does (only visible patches embedded, head on removed patches
// only); 2 FLOP for a multiply-add, products and attention only: norms, GELU and softmax are not
// counted, as is the custom.
#pragma once

#include <cstdint>

#include "models/mae.h"

namespace tessera {

struct MaeCost {
  int64_t parameters = 0;          // the whole state dict
  int64_t trained_parameters = 0;  // without the fixed positions
  double forward_flops = 0;        // one picture
  // Forward and backward of one picture: a product's backward is two products, but pictures get
  // no gradient, so the patch embedding's is one.
  double step_flops = 0;
  // Estimate of what forward keeps for backward in f32, for one picture.
  double activation_bytes = 0;
};

MaeCost cost_of(const MaeConfig& config);

// Estimate of a training step's memory in f32: weights, gradients, both Adam moments, and the
// activations of `batch` pictures.
double training_bytes(const MaeCost& cost, int64_t batch);

}  // namespace tessera
