// A training run of any task: batches in, steps, records, pictures and checkpoints out.
// Rule: a run is a function of its recipe (train/recipe.h). What may differ between two runs of one
// result (device, threads, workers, where and how often to save, how to report) is in RunOptions;
// what a task adds to the loop is a TrainingTask.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/image.h"
#include "data/loader.h"
#include "models/encoder.h"
#include "nn/module.h"
#include "train/adamw.h"
#include "train/recipe.h"
#include "train/training_data.h"

namespace tessera {

struct RunOptions {
  std::string data = "builtin:";
  std::string out;
  Device device = Device::kCpu;
  bool resume = false;
  int workers = 2;
  bool checkpoint_activations = false;  // less memory for a third more work, the same bits
  int64_t decoded_cache = -1;    // MiB of decoded pictures kept for later epochs; < 0: see the flag
  int64_t checkpoint_every = 0;  // steps; 0: every epoch; always at the end
  int64_t log_every = 1;         // steps between records
  int64_t probe_every = 0;       // steps between probes of the encoder, and at the end; 0: none
  int keep = 2;
  bool log_json = false;
  bool dry_run = false;
  bool no_graph = false;      // nothing is recorded: each step is queued anew
  int64_t profile_steps = 0;  // so many, after two that are not, become OUT/profile.txt and .json
  std::string config_text;    // written into the run's folder, for --config
  std::vector<std::string> notes;  // said once it is clear that the run starts
};

using Figures = std::vector<std::pair<std::string, double>>;  // by name, as they are to be read

// Where in the run a batch stands. Everything random in a step is named by (seed, iteration).
struct StepPlace {
  int64_t step = 0;  // finished ones
  int64_t total_steps = 0, steps_per_epoch = 0;
  uint32_t iteration = 0;  // batches before this one: step * accumulate + number in the step
};

// What the loss of a batch is computed from: pictures, targets, masks.
struct StepInputs {
  std::vector<Tensor> tensors;  // on any device; the loss gets them on the model's
  Figures figures;              // logged behind the loss's own: the mean over the step's batches
};

struct BatchLoss {
  Tensor loss;  // 0-d
  // Logged beside the loss: the mean over the step's batches. 0-d, floating, on any device.
  std::vector<NamedTensor> figures;
};

// What an evaluation found.
struct Evaluation {
  Figures figures;      // added to the step's record
  std::string summary;  // said, without the step: "21.3 dB on 256 held-out pictures"
  struct Picture {
    std::string name;  // OUT/name-00000012.png
    Image image;
  };
  std::vector<Picture> pictures;
  std::vector<std::string> warnings;  // said on lines of their own
};

// What is announced, and what room is left for decoded pictures.
struct TaskCost {
  int64_t parameters = 0;
  double step_flops = 0;    // of one picture
  double memory_bytes = 0;  // estimate of what a step holds
};

// What one kind of training adds to the loop. The loop calls, in this order: recipe(), open(),
// cost(), configure(), build(), groups(), state() where a run goes on, and then steps.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  // The loop fills in data_id.
  virtual TrainingRecipe& recipe() = 0;

  // The data are open: the place to refuse what does not fit. `data` outlives the task's work.
  virtual void open(const TrainingData& data) { data_ = &data; }
  // Changes to how batches are read, beyond what every recipe says.
  virtual void configure(DataOptions&) const {}

  // Builds what is trained; called once. Nothing may be kept in the module's own tensors: the
  // optimizer moves them.
  virtual Module& build(bool checkpoint_activations) = 0;
  // Parameters with a learning rate or a decay of their own; see AdamW.
  virtual std::vector<ParameterGroup> groups() const { return {}; }

  // What is drawn, looked up or named for a batch before its loss. The place to work on the host,
  // and to ask a device: the step before may still be running.
  virtual StepInputs inputs(const Batch& batch, const StepPlace& place) = 0;
  // The loss of one batch, in training mode, with autocast and StepRandom alive; `tensors` are
  // those of inputs(), on the model's device. It is recorded and replayed for other tensors of
  // these shapes: it must not look at anything else that changes from step to step, nor ask the
  // device.
  virtual BatchLoss loss(const std::vector<Tensor>& tensors) = 0;
  // The step's update has been made (or skipped, when a gradient was not finite); loss and figures
  // are the means over its batches. Comes late, when the next step is on its way, but before that
  // one's.
  virtual void after_step(const StepPlace&, double /*loss*/, const Figures&) {}

  // Lines that a person should read, of what came up since the last call: asked when the run
  // begins and after each step.
  virtual std::vector<std::string> remarks() { return {}; }

  // In evaluation mode, without gradients, with the averaged weights where some are kept.
  virtual Evaluation evaluate(int64_t step) = 0;

  // A copy of the encoder as it is now, to be looked at; nullptr where none is being trained.
  virtual std::unique_ptr<VitEncoder> encoder() const { return nullptr; }

  // Tensors beyond model and optimizer that a resumed run needs, on the host, of fixed shapes;
  // names begin with "task/". A resume copies into them.
  virtual std::vector<NamedTensor> state() { return {}; }

  virtual TaskCost cost(bool checkpoint_activations) const = 0;

 protected:
  const TrainingData& data() const { return *data_; }

 private:
  const TrainingData* data_ = nullptr;
};

// Trains. Returns the process's exit status: 0 complete, 130 stopped by Ctrl-C after saving.
// Throws for everything else; what was saved stays.
int train(TrainingTask& task, const RunOptions& options);

}  // namespace tessera
