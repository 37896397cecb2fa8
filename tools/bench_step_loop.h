// The steps that `tessera bench step` times: what Trainer (train/step.h) does on a device, with
// inputs that are at hand. Rule: a step that training would refuse is no time but an Error; and
// nothing here measures the machine, whose operands would be memory of the steps.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "nn/module.h"
#include "train/adamw.h"
#include "train/replay.h"

namespace tessera {

// A model, what a step's loss is computed from, and that loss.
struct StepSubject {
  std::unique_ptr<Module> model;
  double step_flops = 0;  // of one picture
  int64_t patch = 0;
  std::function<std::vector<Tensor>(uint32_t step)> inputs;
  std::function<Tensor(const std::vector<Tensor>& inputs)> loss;
};

// What tensors take. Beside the arenas and what is saved for backward a step needs room for
// gradients on their way; the rest of the resident memory is the program, its libraries' packed
// operands, and freed blocks.
struct StepBytes {
  size_t resident = 0, arenas = 0, saved = 0, peak = 0, cached = 0, workspace = 0;
};

// Each step is queued, and heard of as a training hears of it: on the CPU at once, on a device when
// the next one is queued.
class StepLoop {
 public:
  // `subject`, whose model is on the device, outlives the loop. graph: steps are recorded and
  // replayed where the device can.
  StepLoop(const StepSubject& subject, DType low, Device device, bool graph);

  // Two steps, on a device three seconds of them; more until an update was made: a loss scale has
  // come down by then.
  void warm_up();
  // Seconds from each step's end to the next one's, by the device's clock.
  std::vector<double> time(int steps);

  bool recorded() const { return replay_.on(); }
  // Updates that were not made in the steps that were timed, for a loss scale that was too high.
  int64_t skipped() const { return skipped_; }
  StepBytes bytes() const;

 private:
  // On their way to the host.
  struct Report {
    std::unique_ptr<HostCopy> state, loss;
  };
  static constexpr size_t kMostPending = 2;  // as in a training

  void step();
  void queue();
  void compute(const std::vector<Tensor>& inputs);
  void hear();

  const StepSubject& subject_;
  DType low_;
  Device device_;
  int64_t late_;  // how many steps may be pending when the next is queued
  AdamW optimizer_;
  Tensor loss_;  // (1,) f64: of the last step
  Replay replay_;
  std::array<Report, kMostPending> reports_;  // of step s at s % kMostPending
  int64_t queued_ = 0, heard_ = 0, skipped_ = 0;
  int64_t first_timed_ = std::numeric_limits<int64_t>::max();
  bool updated_ = false;  // by the last step that was heard of
  size_t saved_ = 0;
};

}  // namespace tessera
