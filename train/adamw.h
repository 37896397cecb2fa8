// AdamW over flat arenas: all trained parameters, their gradients and both moments lie in four
// buffers of one layout, so that a step is one kernel, the gradient norm one reduction and a
// checkpoint one pass.
// Rule: each tensor starts at a multiple of 64 bytes; the gaps hold zeros and stay zero. What
// changes from step to step lies on the device (StepState): a step asks the device nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/dtype.h"
#include "engine/step_state.h"
#include "nn/module.h"

namespace tessera {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  // On tensors of more than one dimension, class and mask token included; biases, norms and other
  // vectors get none (MAE's param groups, timm's add_weight_decay).
  double weight_decay = 0.05;
  // bf16 or f16: the update also writes the parameters' shadows, which autocast uses; f32: none.
  DType shadow = DType::kF32;
  double clip_grad = 0;      // largest gradient norm; 0: any
  bool scaled_loss = false;  // losses are multiplied by a scale (LossScale), for f16
  double average_decay = 0;  // of a moving average of the parameters (train/ema.h); 0: none is kept
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

  // A step, in this order: begin_step(), zero_grad(), backward passes, update(), mark_updated().
  // A recorded step holds zero_grad() to update() and is replayed between the other two.

  // What the host knows of the step: its learning rate, and the iteration of its first batch.
  void begin_step(double lr, uint32_t iteration = 0);
  // Before the first backward of a step: the next gradients overwrite. Touches no memory.
  void zero_grad();
  // One update, unless a loss (any shape and floating dtype) or the gradients' norm is not finite.
  // Undefined losses: the update without that question, and without clipping.
  void update(const Tensor& losses);
  // The parameters are others now: for the host's own accounts.
  void mark_updated();
  // begin_step(), update() and mark_updated() in one, for a plain loop.
  void step(double lr);

  // The gradient of a scaled loss: the scale, 0-d f32 on the device.
  const Tensor& loss_seed() const { return loss_seed_; }
  // Where the device finds begin_step()'s iteration: a RandomKey's base.
  const uint32_t* iteration() const { return &device_state()->iteration; }

  // L2 norm over all gradients as they are; a parameter that got none counts as zero. Waits.
  double gradient_norm();
  // What the device knows after all that is queued; and from a checkpoint. Both wait.
  StepState state() const;
  void set_state(const StepState& state);
  const Tensor& state_bytes() const { return state_; }  // the same on the device
  bool scaled_loss() const { return options_.scaled_loss; }
  int64_t steps() const { return state().updates; }

  struct Slot {
    std::string name;
    Tensor parameter, gradient, exp_avg, exp_avg_sq;  // views of the arenas
    Tensor average, shadow;                           // undefined where none is kept
  };
  const std::vector<Slot>& slots() const { return slots_; }
  const std::vector<AdamWSegment>& segments() const { return segments_; }
  // Bytes of all arenas.
  size_t arena_bytes() const;

 private:
  StepState* device_state() const { return static_cast<StepState*>(state_.storage()->data()); }
  StepRule rule() const;
  void clear_missing_gradients();
  void refresh_shadow();
  void mark_shadow();

  AdamWOptions options_;
  Tensor parameters_, gradients_, exp_avg_, exp_avg_sq_;  // (arena size,) f32
  Tensor average_;                                        // (arena size,) f32, or undefined
  Tensor shadow_;                                         // (arena size,) bf16 or f16, or undefined
  std::vector<Slot> slots_;
  std::vector<AdamWSegment> segments_;
  Tensor state_, device_segments_;  // bytes on the device
  Tensor loss_seed_;                // a window of state_
  uint64_t shadow_version_ = 0;     // of the parameters that shadow_ was made from
};

}  // namespace tessera
