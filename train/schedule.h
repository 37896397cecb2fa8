// The learning rate of every step: linear warm-up from zero, then half a cosine down to min_lr.
// Rule: a pure function of the step, as in MAE's util/lr_sched.py (called for every step with the
// fractional epoch); warm-up ignores min_lr, as there.
#pragma once

#include <cstdint>

namespace tessera {

// base_lr is for 256 pictures a step, all that are averaged over: batch x accumulated batches.
constexpr double scaled_learning_rate(double base_lr, int64_t pictures_per_step) {
  return base_lr * static_cast<double>(pictures_per_step) / 256.0;
}

struct LearningRateSchedule {
  double peak = 0;
  double min_lr = 0;
  double warmup_steps = 0;  // warm-up epochs x steps an epoch; need not be whole
  int64_t total_steps = 0;

  // The rate of the step that follows `step` finished ones: at(0) is the first step's (0 when there
  // is a warm-up). From total_steps on it is min_lr.
  double at(int64_t step) const;
};

// Half a cosine from one value to another while `progress` goes from 0 to 1; constant outside.
double cosine_between(double from, double to, double progress);

}  // namespace tessera
