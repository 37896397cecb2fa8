// Gradients, norm, update.
// Everything random in a step is named by (seed, iteration), so that the same step can be run
// again: by a resumed run, and to find where a NaN was born.
#include "train/step.h"

#include <algorithm>
#include <cmath>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "nn/step_random.h"
#include "train/checkpoint.h"
#include "train/nonfinite.h"

namespace tessera {
namespace {

LearningRateSchedule schedule_of(const TrainingRecipe& recipe, int64_t total_steps,
                                 int64_t steps_per_epoch) {
  LearningRateSchedule schedule;
  schedule.peak = scaled_learning_rate(recipe.base_lr, recipe.batch_size * recipe.accumulate);
  schedule.min_lr = recipe.min_lr;
  schedule.total_steps = total_steps;
  if (recipe.warmup_steps >= 0) {
    schedule.warmup_steps = static_cast<double>(recipe.warmup_steps);
  } else if (recipe.warmup_epochs >= 0) {
    schedule.warmup_steps = recipe.warmup_epochs * static_cast<double>(steps_per_epoch);
  } else {
    schedule.warmup_steps = static_cast<double>(total_steps) / 20;
  }
  return schedule;
}

// Adds a batch's share of the mean to the step's figures.
void add_share(Figures& sums, const Figures& figures, double share) {
  if (sums.empty()) {
    for (const auto& [name, value] : figures) sums.emplace_back(name, 0.0);
  }
  TESSERA_CHECK(sums.size() == figures.size(), "[train] the batches of a step differ in figures");
  for (size_t i = 0; i < figures.size(); ++i) sums[i].second += figures[i].second * share;
}

// Its tensors where the model is; labels and numbers are for the host.
Batch placed_on(Device device, Batch batch) {
  for (Tensor* t : {&batch.images, &batch.second, &batch.targets}) {
    if (t->defined()) *t = raw::to(*t, device);
  }
  return batch;
}

}  // namespace

Trainer::Trainer(TrainingTask& task, Module& model, int64_t total_steps, int64_t steps_per_epoch)
    : task_(task),
      model_(model),
      device_(model.device()),
      recipe_(task.recipe()),
      total_steps_(total_steps),
      steps_per_epoch_(steps_per_epoch),
      schedule_(schedule_of(recipe_, total_steps, steps_per_epoch)),
      scaler_(recipe_.precision),
      optimizer_(
          model,
          AdamWOptions{recipe_.beta1, recipe_.beta2, 1e-8, recipe_.weight_decay, recipe_.precision},
          task.groups()) {
  if (recipe_.ema_decay > 0) average_.emplace(optimizer_, recipe_.ema_decay);
}

StepPlace Trainer::place(int64_t step, size_t batch) const {
  const int64_t iteration = step * recipe_.accumulate + static_cast<int64_t>(batch);
  return {step, total_steps_, steps_per_epoch_, static_cast<uint32_t>(iteration)};
}

// Gradients of one step, times the loss scale; the loss is the mean over its batches.
StepResult Trainer::accumulate_gradients(int64_t step, const std::vector<Batch>& batches) {
  optimizer_.zero_grad();
  StepResult result;
  const double share = 1.0 / static_cast<double>(recipe_.accumulate);
  for (size_t i = 0; i < batches.size(); ++i) {
    const StepPlace here = place(step, i);
    const StepRandom random(recipe_.seed, here.iteration);
    const Autocast autocast(recipe_.precision);
    const BatchLoss batch = task_.loss(placed_on(device_, batches[i]), here);
    const Tensor loss = mul_scalar(batch.loss, share);
    backward(loss, Tensor::full({}, scaler_.scale(), loss.dtype(), loss.device()));
    result.loss += loss.item();
    add_share(result.figures, batch.figures, share);
  }
  return result;
}

StepResult Trainer::step(int64_t step, const std::vector<Batch>& batches) {
  StepResult result = accumulate_gradients(step, batches);
  result.lr = schedule_.at(step);
  {
    const ObservedWork work("gradient norm");
    result.gradient_norm = optimizer_.gradient_norm() / scaler_.scale();
  }
  const bool finite = std::isfinite(result.loss) && std::isfinite(result.gradient_norm);
  if (!finite && !scaler_.can_back_off()) {
    // The weights are still those before the step: run it again and look after each op.
    name_first_nonfinite(step + 1, optimizer_, [&] { accumulate_gradients(step, batches); });
  }
  if (finite) {
    const double clip = recipe_.clip_grad > 0
                            ? std::min(1.0, recipe_.clip_grad / (result.gradient_norm + 1e-6))
                            : 1.0;
    const ObservedWork work("adamw");
    optimizer_.step(result.lr, clip / scaler_.scale());
    if (average_) average_->update();
  }
  scaler_.update(finite);
  task_.after_step(place(step, 0), result.loss);
  backend(device_).allocator().end_step();
  return result;
}

std::vector<NamedTensor> Trainer::more() const {
  std::vector<NamedTensor> tensors = task_.state();
  if (average_) {
    for (NamedTensor& shadow : average_->tensors()) tensors.push_back(std::move(shadow));
  }
  return tensors;
}

void Trainer::load(const Checkpoint& checkpoint) {
  checkpoint.load_model(model_);
  checkpoint.load_optimizer(optimizer_, scaler_);
  checkpoint.load_more(more());
}

void Trainer::save(const std::string& path, int64_t finished_steps) {
  save_checkpoint(path, model_, optimizer_, scaler_, finished_steps, to_json(recipe_), more());
}

}  // namespace tessera
