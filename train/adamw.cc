// The arenas' layout, and one kernel a step.
#include "train/adamw.h"

#include <cmath>
#include <cstddef>
#include <map>
#include <span>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int64_t kAlign = 64 / static_cast<int64_t>(sizeof(float));  // elements

std::map<std::string, const ParameterGroup*> by_name(const std::vector<ParameterGroup>& groups) {
  std::map<std::string, const ParameterGroup*> group_of;
  for (const ParameterGroup& group : groups) {
    for (const std::string& name : group.names) {
      const bool fresh = group_of.emplace(name, &group).second;
      TESSERA_CHECK(fresh, "[AdamW] parameter {} is in two groups", name);
    }
  }
  return group_of;
}

Tensor slot_view(const Tensor& arena, int64_t at, const Shape& shape) {
  return arena.with_layout(at, shape, contiguous_strides(shape));
}

}  // namespace

AdamW::AdamW(Module& model, const AdamWOptions& options, const std::vector<ParameterGroup>& groups)
    : options_(options) {
  int64_t size = 0;
  Device device = Device::kCpu;
  model.visit([&](const std::string& name, Tensor& tensor, StateKind kind) {
    if (kind != StateKind::kTrained || !requires_grad(tensor)) return;
    TESSERA_CHECK(tensor.dtype() == DType::kF32, "[AdamW] parameter {} must be f32, is {}", name,
                  describe(tensor));
    device = tensor.device();
    size += (tensor.numel() + kAlign - 1) / kAlign * kAlign;
  });
  TESSERA_CHECK(size > 0, "[AdamW] the model has nothing to train");
  // Parameters first, and the model's own tensors back to the system: else building the optimizer
  // would be what needs the most memory of all.
  parameters_ = Tensor::zeros({size}, DType::kF32, device);
  std::map<std::string, const ParameterGroup*> group_of = by_name(groups);
  int64_t at = 0;
  model.visit([&](const std::string& name, Tensor& tensor, StateKind kind) {
    if (kind != StateKind::kTrained || !requires_grad(tensor)) return;
    Slot slot;
    slot.name = name;
    slot.parameter = slot_view(parameters_, at, tensor.shape());
    raw::copy_(slot.parameter, tensor);
    set_requires_grad(slot.parameter);
    tensor = slot.parameter;
    AdamWSegment segment;
    segment.begin = at;
    segment.end = at + tensor.numel();
    segment.weight_decay = tensor.ndim() > 1 ? static_cast<float>(options_.weight_decay) : 0.0f;
    if (const auto group = group_of.extract(name)) {
      segment.lr_scale = static_cast<float>(group.mapped()->lr_factor);
      segment.weight_decay = static_cast<float>(group.mapped()->weight_decay);
    }
    segments_.push_back(segment);
    slots_.push_back(std::move(slot));
    at += (tensor.numel() + kAlign - 1) / kAlign * kAlign;
  });
  TESSERA_CHECK(group_of.empty(), "[AdamW] group '{}' names {}, which the model does not train",
                group_of.begin()->second->label, group_of.begin()->first);
  parameters_.backend().allocator().flush();
  StepState state;
  if (options_.scaled_loss) state.scale.value = LossScale::kInitial;
  state.loss_seed = static_cast<float>(state.scale.value);
  state_ = raw::from_bytes(std::as_bytes(std::span(&state, 1)), device);
  device_segments_ = raw::from_bytes(std::as_bytes(std::span(segments_)), device);
  loss_seed_ = Tensor::window(state_.storage(), offsetof(StepState, loss_seed) / sizeof(float), {},
                              {}, DType::kF32);
  gradients_ = Tensor::zeros({size}, DType::kF32, device);
  exp_avg_ = Tensor::zeros({size}, DType::kF32, device);
  exp_avg_sq_ = Tensor::zeros({size}, DType::kF32, device);
  if (options_.average_decay > 0) average_ = raw::clone(parameters_);
  if (options_.shadow != DType::kF32) shadow_ = raw::to(parameters_, options_.shadow);
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    const int64_t begin = segments_[i].begin;
    const Shape& shape = slot.parameter.shape();
    slot.gradient = slot_view(gradients_, begin, shape);
    slot.exp_avg = slot_view(exp_avg_, begin, shape);
    slot.exp_avg_sq = slot_view(exp_avg_sq_, begin, shape);
    if (average_.defined()) slot.average = slot_view(average_, begin, shape);
    if (shadow_.defined()) slot.shadow = slot_view(shadow_, begin, shape);
    set_grad_slot(slot.parameter, slot.gradient);
  }
  mark_shadow();
}

void AdamW::begin_step(double lr, uint32_t iteration) {
  StepState told;
  told.lr = lr;
  told.iteration = iteration;
  constexpr size_t kTold = offsetof(StepState, iteration) + sizeof(told.iteration);
  state_.backend().copy_from_host(state_.storage()->data(), &told, kTold);
  refresh_shadow();
}

// Parameters that were loaded or exchanged since the last update have no shadow of their own. A
// recorded step would not notice.
void AdamW::refresh_shadow() {
  if (!shadow_.defined() || parameters_.storage()->version() == shadow_version_) return;
  raw::copy_(shadow_, parameters_);
  mark_shadow();
}

void AdamW::mark_shadow() {
  shadow_version_ = parameters_.storage()->version();
  if (!shadow_.defined()) return;
  for (const Slot& slot : slots_) set_shadow(slot.parameter, slot.shadow);
}

void AdamW::zero_grad() {
  for (const Slot& slot : slots_) tessera::zero_grad(slot.parameter);
}

// A parameter that took no part in this step still holds the last one's gradient.
void AdamW::clear_missing_gradients() {
  for (const Slot& slot : slots_) {
    if (!grad(slot.parameter).defined()) raw::fill_(slot.gradient, 0);
  }
}

double AdamW::gradient_norm() {
  clear_missing_gradients();
  return std::sqrt(raw::sum_squares(gradients_).item());
}

StepRule AdamW::rule() const {
  return {.beta1 = options_.beta1,
          .beta2 = options_.beta2,
          .clip = options_.clip_grad,
          .average_decay = options_.average_decay,
          .scaled_loss = options_.scaled_loss};
}

void AdamW::update(const Tensor& losses) {
  clear_missing_gradients();
  Backend& backend = parameters_.backend();
  if (losses.defined()) {
    const ObservedWork work("gradient norm");
    const Tensor asked = raw::reshape(
        losses.dtype() == DType::kF64 ? losses.detach() : raw::to(losses.detach(), DType::kF64),
        {-1});
    const Tensor sum_squares = raw::sum_squares(gradients_);
    backend.judge_step(rule(), asked.view(), sum_squares.view(), device_state());
  } else {
    backend.judge_step(rule(), {}, {}, device_state());
  }
  const ObservedWork work("adamw");
  AdamWArgs args;
  args.param = parameters_.view();
  args.grad = gradients_.view();
  args.exp_avg = exp_avg_.view();
  args.exp_avg_sq = exp_avg_sq_.view();
  if (average_.defined()) args.average = average_.view();
  if (shadow_.defined()) args.shadow = shadow_.view();
  args.segments = static_cast<const AdamWSegment*>(device_segments_.storage()->data());
  args.segment_count = std::ssize(segments_);
  args.state = device_state();
  args.beta1 = options_.beta1;
  args.beta2 = options_.beta2;
  args.eps = options_.eps;
  backend.adamw(args);
}

void AdamW::mark_updated() {
  for (const Tensor* arena : {&parameters_, &exp_avg_, &exp_avg_sq_, &average_, &shadow_}) {
    if (arena->defined()) arena->storage()->bump_version();
  }
  mark_shadow();
}

void AdamW::step(double lr) {
  begin_step(lr);
  update({});
  mark_updated();
}

StepState AdamW::state() const {
  StepState state;
  state_.backend().copy_to_host(&state, state_.storage()->data(), sizeof(state));
  return state;
}

void AdamW::set_state(const StepState& state) {
  state_.backend().copy_from_host(state_.storage()->data(), &state, sizeof(state));
}

size_t AdamW::arena_bytes() const {
  size_t bytes = 0;
  for (const Tensor* arena :
       {&parameters_, &gradients_, &exp_avg_, &exp_avg_sq_, &average_, &shadow_}) {
    if (arena->defined()) bytes += static_cast<size_t>(arena->numel()) * size_of(arena->dtype());
  }
  return bytes;
}

}  // namespace tessera
