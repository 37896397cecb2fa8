// One step of training: gradients of `accumulate` batches, their norm, an update.
// Rule: all that a step changes (weights, moments, loss scale, averaged weights) is held here or in
// the model, and belongs to the checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "train/adamw.h"
#include "train/ema.h"
#include "train/grad_scaler.h"
#include "train/schedule.h"
#include "train/training.h"

namespace tessera {

struct StepResult {
  double loss = 0, gradient_norm = 0, lr = 0;
  Figures figures;  // the task's
};

class Trainer {
 public:
  // `model` is the task's. The lengths are in steps.
  Trainer(TrainingTask& task, Module& model, int64_t total_steps, int64_t steps_per_epoch);

  // Step number `step` (from 0) on its batches. An Error names where a NaN or Inf was born when the
  // loss scale cannot be to blame.
  StepResult step(int64_t step, const std::vector<Batch>& batches);

  const AdamW& optimizer() const { return optimizer_; }
  const GradScaler& scaler() const { return scaler_; }
  WeightAverage* average() { return average_ ? &*average_ : nullptr; }

  // The model, and all that is here: from a file, to a file.
  void load(const Checkpoint& checkpoint);
  void save(const std::string& path, int64_t finished_steps);

 private:
  StepPlace place(int64_t step, size_t batch) const;
  StepResult accumulate_gradients(int64_t step, const std::vector<Batch>& batches);
  std::vector<NamedTensor> more() const;

  TrainingTask& task_;
  Module& model_;
  Device device_;  // the model's
  const TrainingRecipe& recipe_;
  int64_t total_steps_, steps_per_epoch_;
  LearningRateSchedule schedule_;
  GradScaler scaler_;
  AdamW optimizer_;
  std::optional<WeightAverage> average_;
};

}  // namespace tessera
