// Gradients, norm, update, and what came of them, one step late.
// Everything random in a step is named by (seed, iteration), so that the same step can be run
// again: by a resumed run, and to find where a NaN was born.
#include "train/step.h"

#include <cstring>
#include <utility>

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

std::vector<Tensor> tensors_of(const std::vector<StepInputs>& batches) {
  std::vector<Tensor> all;
  for (const StepInputs& inputs : batches) {
    all.insert(all.end(), inputs.tensors.begin(), inputs.tensors.end());
  }
  return all;
}

}  // namespace

Trainer::Trainer(TrainingTask& task, Module& model, int64_t total_steps, int64_t steps_per_epoch,
                 bool graphs)
    : task_(task),
      model_(model),
      device_(model.device()),
      recipe_(task.recipe()),
      total_steps_(total_steps),
      steps_per_epoch_(steps_per_epoch),
      schedule_(schedule_of(recipe_, total_steps, steps_per_epoch)),
      optimizer_(model,
                 AdamWOptions{.beta1 = recipe_.beta1,
                              .beta2 = recipe_.beta2,
                              .weight_decay = recipe_.weight_decay,
                              .shadow = recipe_.precision,
                              .clip_grad = recipe_.clip_grad,
                              .scaled_loss = recipe_.precision == DType::kF16,
                              .average_decay = recipe_.ema_decay},
                 task.groups()),
      replay_(device_, graphs) {
  if (recipe_.ema_decay > 0) average_.emplace(optimizer_);
}

StepPlace Trainer::place(int64_t step, size_t batch) const {
  const int64_t iteration = step * recipe_.accumulate + static_cast<int64_t>(batch);
  return {step, total_steps_, steps_per_epoch_, static_cast<uint32_t>(iteration)};
}

void Trainer::begin(const Pending& step) {
  optimizer_.begin_step(step.lr, place(step.step, 0).iteration);
}

// Gradients of one step, times the loss scale. What is random in it is named by the iteration that
// the device was told, so it may be recorded.
void Trainer::accumulate_gradients(const std::vector<Tensor>& tensors) {
  optimizer_.zero_grad();
  const auto batches = static_cast<size_t>(recipe_.accumulate);
  const size_t each = tensors.size() / batches;
  for (size_t i = 0; i < batches; ++i) {
    const StepRandom random(
        RandomKey{recipe_.seed, static_cast<uint32_t>(i), kFirstStepSite, optimizer_.iteration()});
    const Autocast autocast(recipe_.precision);
    std::vector<Tensor> inputs;
    for (size_t k = i * each; k < (i + 1) * each; ++k) {
      inputs.push_back(raw::to(tensors[k], device_));
    }
    const BatchLoss batch = task_.loss(inputs);
    const Tensor loss = mul_scalar(batch.loss, 1.0 / static_cast<double>(batches));
    backward(loss, optimizer_.loss_seed());
    keep_results(i, loss, batch.figures);
  }
}

void Trainer::keep_results(size_t batch, const Tensor& loss,
                           const std::vector<NamedTensor>& figures) {
  if (!results_.defined()) {
    for (const NamedTensor& figure : figures) figure_names_.push_back(figure.name);
    results_ = Tensor::zeros({recipe_.accumulate, 1 + std::ssize(figures)}, DType::kF64, device_);
  }
  TESSERA_CHECK(figures.size() == figure_names_.size(),
                "[train] the batches of a step differ in figures");
  const Tensor row = raw::select(results_, 0, static_cast<int64_t>(batch));
  const auto keep = [&](int64_t column, const Tensor& value) {
    raw::copy_(raw::select(row, 0, column), raw::to(value.detach(), device_));
  };
  keep(0, loss);
  for (size_t i = 0; i < figures.size(); ++i) keep(1 + static_cast<int64_t>(i), figures[i].tensor);
}

void Trainer::queue(int64_t step, const std::vector<Batch>& batches) {
  TESSERA_CHECK(pending() < kMostPending, "[train] {} steps are pending", pending());
  Backend& backend = tessera::backend(device_);
  backend.allocator().begin_step();
  Pending now = {step, schedule_.at(step), {}};
  for (size_t i = 0; i < batches.size(); ++i) {
    now.inputs.push_back(task_.inputs(batches[i], place(step, i)));
  }
  begin(now);
  replay_.run(tensors_of(now.inputs), [&](const std::vector<Tensor>& tensors) {
    accumulate_gradients(tensors);
    optimizer_.update(raw::select(results_, 1, 0));
  });
  optimizer_.mark_updated();
  Report& report = reports_[static_cast<size_t>(step) % kMostPending];
  if (report.state == nullptr) {
    report.state = backend.host_copy(sizeof(StepState));
    report.results = backend.host_copy(static_cast<size_t>(results_.numel()) * sizeof(double));
  }
  report.state->queue(optimizer_.state_bytes().view().data);
  report.results->queue(results_.view().data);
  pending_.push_back(std::move(now));
  backend.allocator().end_step();
}

bool Trainer::ready() const {
  if (pending_.empty()) return false;
  const Report& report = reports_[static_cast<size_t>(pending_.front().step) % kMostPending];
  return report.state->ready() && report.results->ready();
}

StepResult Trainer::collect() {
  TESSERA_CHECK(!pending_.empty(), "[train] no step is pending");
  const Pending done = std::move(pending_.front());
  pending_.pop_front();
  const Report& report = reports_[static_cast<size_t>(done.step) % kMostPending];
  StepState state;
  std::memcpy(&state, report.state->wait(), sizeof(state));
  const auto* values = static_cast<const double*>(report.results->wait());
  StepResult result;
  result.step = done.step + 1;
  result.lr = done.lr;
  result.gradient_norm = state.gradient_norm;
  result.loss_scale = state.scale.value;
  for (const std::string& name : figure_names_) result.figures.emplace_back(name, 0.0);
  for (const auto& [name, value] : done.inputs[0].figures) result.figures.emplace_back(name, 0.0);
  const double share = 1.0 / static_cast<double>(recipe_.accumulate);
  for (const StepInputs& inputs : done.inputs) {
    result.loss += *values++;
    size_t i = 0;
    for (; i < figure_names_.size(); ++i) result.figures[i].second += *values++ * share;
    for (const auto& [name, value] : inputs.figures) result.figures[i++].second += value * share;
  }
  if (state.halted != 0) {
    // The weights are still those before the step: run it again and look after each op.
    name_first_nonfinite(result.step, optimizer_, [&] {
      begin(done);
      accumulate_gradients(tensors_of(done.inputs));
    });
  }
  task_.after_step(place(done.step, 0), result.loss, result.figures);
  return result;
}

StepResult Trainer::step(int64_t step, const std::vector<Batch>& batches) {
  TESSERA_CHECK(pending() == 0, "[train] {} steps are pending", pending());
  queue(step, batches);
  return collect();
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
  checkpoint.load_optimizer(optimizer_);
  checkpoint.load_more(more());
}

void Trainer::save(const std::string& path, int64_t finished_steps) {
  save_checkpoint(path, model_, optimizer_, finished_steps, to_json(recipe_), more());
}

}  // namespace tessera
