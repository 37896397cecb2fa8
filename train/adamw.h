// AdamW over flat arenas: all trained parameters, their gradients and both moments lie in four
// buffers of one layout, so that a step is one kernel, the gradient norm one reduction and a
// checkpoint one pass.
// Rule: each tensor starts at a multiple of 64 bytes; the gaps hold zeros and stay zero.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/dtype.h"
#include "nn/module.h"

namespace tessera {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  // On tensors of more than one dimension, class and mask token included; biases, norms and other
  // vectors get none (MAE's param groups, timm's add_weight_decay).
  double weight_decay = 0.05;
  // bf16 or f16: the update also writes the parameters' shadows, which autocast uses; f32: none.
  DType shadow = DType::kF32;
};

// Parameters with a learning rate or a decay of their own (layer-wise decay, tables that must not
// decay). Those that no group names follow the options.
struct ParameterGroup {
  std::string label;               // for people: "blocks.3, decayed"
  std::vector<std::string> names;  // of trained parameters
  double lr_factor = 1;            // of the step's learning rate
  double weight_decay = 0;
};

class AdamW {
 public:
  // Moves the model's trained parameters into an arena and gives each a gradient slot. An Error
  // names a parameter that is in two groups, or one that the model does not train.
  AdamW(Module& model, const AdamWOptions& options, const std::vector<ParameterGroup>& groups = {});

  // Before the first backward of a step: the next gradients overwrite. Touches no memory.
  void zero_grad();
  // L2 norm over all gradients as they are; a parameter that got none counts as zero.
  double gradient_norm();
  // One update. Gradients are multiplied by grad_scale as they are read.
  void step(double lr, double grad_scale = 1.0);

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

  struct Slot {
    std::string name;
    Tensor parameter, gradient, exp_avg, exp_avg_sq;  // views of the arenas
    Tensor shadow;                                    // undefined where none is kept
  };
  const std::vector<Slot>& slots() const { return slots_; }
  const std::vector<AdamWSegment>& segments() const { return segments_; }
  // Bytes of all arenas.
  size_t arena_bytes() const;

 private:
  void clear_missing_gradients();

  AdamWOptions options_;
  Tensor parameters_, gradients_, exp_avg_, exp_avg_sq_;  // (arena size,) f32
  Tensor shadow_;                                         // (arena size,) bf16 or f16, or undefined
  std::vector<Slot> slots_;
  std::vector<AdamWSegment> segments_;
  int64_t steps_ = 0;
};

}  // namespace tessera
