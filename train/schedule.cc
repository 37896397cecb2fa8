// Linear warm-up and half a cosine, in f64.
// Rule: no state; the same step always has the same rate.
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera {

double LearningRateSchedule::at(int64_t step) const {
  const double now = static_cast<double>(step);
  const double decay_steps = static_cast<double>(total_steps) - warmup_steps;
  if (now < warmup_steps) return peak * now / warmup_steps;
  if (step >= total_steps) return min_lr;
  const double turn = std::numbers::pi * (now - warmup_steps) / decay_steps;
  return min_lr + (peak - min_lr) * 0.5 * (1.0 + std::cos(turn));
}

double cosine_between(double from, double to, double progress) {
  const double turn = std::numbers::pi * std::clamp(progress, 0.0, 1.0);
  return to + (from - to) * 0.5 * (1.0 + std::cos(turn));
}

}  // namespace tessera
