// What a model costs, from its configuration alone.
// Rule: counts what this program does (MAE: only visible patches embedded, head on removed patches
// only; BEiT: head on the listed patches only); 2 FLOP for a multiply-add, products and attention
// only: norms, GELU and softmax are not counted, as is the custom.
#pragma once

#include <cstdint>

#include "models/beit.h"
#include "models/dalle.h"
#include "models/dvae.h"
#include "models/mae.h"
#include "models/vit.h"

namespace tessera {

struct ModelCost {
  int64_t parameters = 0;          // the whole state dict but its buffers
  int64_t trained_parameters = 0;  // without fixed positions and what is frozen
  double forward_flops = 0;        // one picture
  // Forward and backward of one picture: a product's backward is two products, but pictures get
  // no gradient, so the patch embedding's is one.
  double step_flops = 0;
  // Estimates of what forward keeps for backward: for one picture, and once for a batch.
  double activation_bytes = 0;
  double batch_bytes = 0;
};

// How a step's memory is kept small.
struct StepMemory {
  DType precision = DType::kF32;        // of autocast
  bool checkpoint_activations = false;  // of a block its input alone (nn/checkpointed.h)
};

ModelCost cost_of(const MaeConfig& config, const StepMemory& memory = {});
// `target` patches of a picture are listed for prediction.
ModelCost cost_of(const BeitConfig& config, int64_t target, const StepMemory& memory = {});
// The first `frozen_blocks` and what comes before them learn nothing (VitTrunk::train_last_blocks).
// < 0: everything learns.
ModelCost cost_of(const ClassifierConfig& config, int64_t frozen_blocks = -1,
                  const StepMemory& memory = {});
// A tokenizer's whole pass, encoder and decoder, on pictures of this size, in f32.
ModelCost cost_of(const DvaeConfig& config, int64_t height, int64_t width);
ModelCost cost_of(const DalleConfig& config, int64_t height, int64_t width);

// Estimate of a training step's memory: weights, gradients, both Adam moments and the weights'
// 16-bit copies, and the activations of `batch` pictures.
double training_bytes(const ModelCost& cost, int64_t batch, DType precision = DType::kF32);

}  // namespace tessera
