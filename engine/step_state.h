// What changes from step to step of a training, in one block that lies where the model is: the host
// writes learning rate and iteration before a step, everything else is decided on the device. So a
// step asks the device nothing, the next can be queued behind it, and a recorded one (Graph in
// engine/backend.h) needs no other numbers than a new one. Rule: plain data, and one function that
// host and device compile alike.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/elementwise.h"

namespace tessera {

// Loss scaling for f16, whose smallest normal number is 6e-5: gradients are computed of loss *
// scale and divided again as the optimizer reads them (Micikevicius et al., 2018). The rule is that
// of PyTorch's GradScaler: an update with a non-finite gradient is skipped and halves the scale;
// 2000 clean updates in a row double it.
struct LossScale {
  static constexpr double kInitial = 65536, kGrowth = 2, kBackoff = 0.5;
  static constexpr int64_t kGrowthInterval = 2000;
  // Gradients that overflow without any scaling are no matter of scale.
  static constexpr double kFloor = 1;

  double value = 1;
  int64_t clean_updates = 0;

  // Whether a non-finite gradient may be met by a smaller scale.
  constexpr bool can_back_off() const { return value > kFloor; }
  // After an update that was made, or one that was skipped.
  constexpr void update(bool finite) {
    if (!finite) {
      value = value * kBackoff < kFloor ? kFloor : value * kBackoff;
      clean_updates = 0;
    } else if (++clean_updates == kGrowthInterval) {
      value *= kGrowth;
      clean_updates = 0;
    }
  }
};

// What is the same in every step.
struct StepRule {
  double beta1 = 0.9, beta2 = 0.999;
  double clip = 0;           // largest gradient norm; 0: any
  double average_decay = 0;  // of the averaged weights; 0: none are kept
  bool scaled_loss = false;  // LossScale is at work; else the scale is 1 for ever
};

struct StepState {
  // From the host, before the step.
  double lr = 0;
  uint32_t iteration = 0;  // of the step's first batch: what a RandomKey's `base` points to
  // Kept by the device. Once a gradient was not finite and no smaller scale can help, no update is
  // made any more: a host that learns it late finds the weights as they were before that step.
  uint32_t halted = 0;
  int64_t updates = 0;  // made so far
  LossScale scale;
  // Found by judge_step().
  double gradient_norm = 0;  // L2, of the gradients without the scale
  double grad_scale = 1;     // gradients are multiplied by it as they are read: clipping, unscaling
  double correction1 = 1, correction2 = 1;  // of the moments' bias in this update
  double average_decay = 0;                 // of the averaged weights in this update
  float loss_seed = 1;                      // the next loss's gradient: the scale
  uint32_t update = 1;                      // whether this step's update is made
};

// Whether a step's update is made, and with what. losses (count,), `stride` apart; sum_squares: of
// all gradients. nullptr: nobody asks, and the update is made.
TESSERA_LANE void judge(const StepRule& rule, const double* losses, int64_t count, int64_t stride,
                        const float* sum_squares, StepState* state) {
  bool finite = true;
  const auto is_finite = [](double x) { return x - x == 0; };
  for (int64_t i = 0; losses != nullptr && i < count; ++i) {
    finite = finite && is_finite(losses[i * stride]);
  }
  const double norm = sum_squares == nullptr
                          ? 0
                          : std::sqrt(static_cast<double>(*sum_squares)) / state->scale.value;
  finite = finite && is_finite(norm);
  state->gradient_norm = norm;
  state->update = finite && state->halted == 0;
  if (!finite && !(rule.scaled_loss && state->scale.can_back_off())) state->halted = 1;
  if (state->halted != 0) return;
  if (finite) {
    const double limit = rule.clip / (norm + 1e-6);
    state->grad_scale = (rule.clip > 0 && limit < 1 ? limit : 1.0) / state->scale.value;
    const auto t = static_cast<double>(++state->updates);
    state->correction1 = 1 - std::pow(rule.beta1, t);
    state->correction2 = 1 - std::pow(rule.beta2, t);
    const double early = (1 + t) / (10 + t);
    state->average_decay = early < rule.average_decay ? early : rule.average_decay;
  }
  if (rule.scaled_loss) state->scale.update(finite);
  state->loss_seed = static_cast<float>(state->scale.value);
}

}  // namespace tessera
