// One step of training: gradients of `accumulate` batches, their norm, an update.
// Rule: all that a step changes (weights, moments, loss scale, averaged weights) is held here or in
// the model, and belongs to the checkpoint; and a step is queued without asking the device, so that
// it can be replayed and the next one queued behind it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/adamw.h"
#include "train/ema.h"
#include "train/replay.h"
#include "train/schedule.h"
#include "train/training.h"

namespace tessera {

struct StepResult {
  int64_t step = 0;  // finished ones, this one among them
  double loss = 0, gradient_norm = 0, lr = 0;
  double loss_scale = 1;  // after the step
  Figures figures;        // the task's
};

class Trainer {
 public:
  static constexpr size_t kMostPending = 2;

  // `model` is the task's. The lengths are in steps. graphs: steps are recorded and replayed where
  // device and task allow it, with the same bits.
  Trainer(TrainingTask& task, Module& model, int64_t total_steps, int64_t steps_per_epoch,
          bool graphs = true);

  // Queues step number `step` (from 0) on its batches, behind those that are pending.
  void queue(int64_t step, const std::vector<Batch>& batches);
  // Steps that are queued and not collected; whether the first of them is done.
  size_t pending() const { return pending_.size(); }
  bool ready() const;
  // What came of the first that is pending; waits for it. An Error names where a NaN or Inf was
  // born when the loss scale cannot be to blame: no update was made from that step on.
  StepResult collect();
  // queue() and collect(), where nothing is pending.
  StepResult step(int64_t step, const std::vector<Batch>& batches);

  const AdamW& optimizer() const { return optimizer_; }
  WeightAverage* average() { return average_ ? &*average_ : nullptr; }

  // The model, and all that is here: from a file, to a file.
  void load(const Checkpoint& checkpoint);
  void save(const std::string& path, int64_t finished_steps);

 private:
  struct Pending {
    int64_t step = 0;
    double lr = 0;
    std::vector<StepInputs> inputs;  // of each batch
  };
  // On their way to the host.
  struct Report {
    std::unique_ptr<HostCopy> state, results;
  };

  StepPlace place(int64_t step, size_t batch) const;
  void begin(const Pending& step);
  void accumulate_gradients(const std::vector<Tensor>& tensors);
  void keep_results(size_t batch, const Tensor& loss, const std::vector<NamedTensor>& figures);
  std::vector<NamedTensor> more() const;

  TrainingTask& task_;
  Module& model_;
  Device device_;  // the model's
  const TrainingRecipe& recipe_;
  int64_t total_steps_, steps_per_epoch_;
  LearningRateSchedule schedule_;
  AdamW optimizer_;
  std::optional<WeightAverage> average_;
  Tensor results_;  // (accumulate, 1 + figures) f64 on the device: a batch's loss and figures
  std::vector<std::string> figure_names_;  // of the losses'
  std::deque<Pending> pending_;
  std::array<Report, kMostPending> reports_;  // of step s at s % kMostPending
  Replay replay_;
};

}  // namespace tessera
