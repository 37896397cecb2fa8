// Steps as a trainer takes them.
#include "tools/bench_step_loop.h"

#include <chrono>
#include <cmath>
#include <cstring>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "engine/error.h"
#include "engine/raw.h"
#include "nn/step_random.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr int64_t kWarmUpSteps = 2;   // allocations, the caches' first touch, a graph's recording
constexpr double kWarmUpSeconds = 3;  // on a device: its clocks rise and fall with the work

}  // namespace

StepLoop::StepLoop(const StepSubject& subject, DType low, Device device, bool graph)
    : subject_(subject),
      low_(low),
      device_(device),
      late_(device == Device::kCpu ? 0 : kMostPending - 1),
      optimizer_(*subject.model, {.shadow = low, .scaled_loss = low == DType::kF16}),
      loss_(Tensor::zeros({1}, DType::kF64, device)),
      replay_(device, graph) {
  for (Report& report : reports_) {
    report.state = backend(device).host_copy(sizeof(StepState));
    report.loss = backend(device).host_copy(sizeof(double));
  }
  CachingAllocator& allocator = backend(device).allocator();
  allocator.flush();  // what building the model left
  allocator.reset_peak();
}

void StepLoop::warm_up() {
  const auto start = std::chrono::steady_clock::now();
  const std::chrono::duration<double> least(device_ == Device::kCpu ? 0 : kWarmUpSeconds);
  do {
    step();
  } while (queued_ < kWarmUpSteps || std::chrono::steady_clock::now() - start < least || !updated_);
}

std::vector<double> StepLoop::time(int steps) {
  first_timed_ = queued_;
  std::vector<std::unique_ptr<Moment>> ends;
  ends.push_back(backend(device_).moment());
  for (int i = 0; i < steps; ++i) {
    step();
    ends.push_back(backend(device_).moment());
  }
  while (heard_ < queued_) hear();
  std::vector<double> times;
  for (size_t i = 1; i < ends.size(); ++i) times.push_back(ends[i]->seconds_since(*ends[i - 1]));
  return times;
}

StepBytes StepLoop::bytes() const {
  const AllocatorStats stats = backend(device_).allocator().stats();
  return {static_cast<size_t>(peak_memory_bytes()),
          optimizer_.arena_bytes(),
          saved_,
          stats.peak_bytes,
          stats.cached_bytes,
          backend(device_).workspace_bytes()};
}

void StepLoop::step() {
  queue();
  while (heard_ + late_ < queued_) hear();
}

void StepLoop::queue() {
  const auto iteration = static_cast<uint32_t>(queued_);
  optimizer_.begin_step(1e-4, iteration);
  replay_.run(subject_.inputs(iteration),
              [&](const std::vector<Tensor>& inputs) { compute(inputs); });
  optimizer_.mark_updated();
  const Report& report = reports_[static_cast<size_t>(queued_++) % kMostPending];
  report.state->queue(optimizer_.state_bytes().view().data);
  report.loss->queue(loss_.view().data);
  backend(device_).allocator().end_step();
}

void StepLoop::compute(const std::vector<Tensor>& inputs) {
  optimizer_.zero_grad();
  const StepRandom random(RandomKey{0, 0, kFirstStepSite, optimizer_.iteration()});
  const Autocast autocast(low_);
  const AllocatorStats before = backend(device_).allocator().stats();
  const Tensor loss = subject_.loss(inputs);
  // A recording keeps what it releases: the first step, which is none, tells.
  if (queued_ == 0) saved_ = backend(device_).allocator().stats().live_bytes - before.live_bytes;
  backward(loss, optimizer_.loss_seed());
  raw::copy_(loss_, raw::to(raw::reshape(loss.detach(), {1}), DType::kF64));
  optimizer_.update(loss_);
}

// Of the first that nobody has heard of. Where training would stop there is nothing to time: from
// then on no update is made.
void StepLoop::hear() {
  const Report& report = reports_[static_cast<size_t>(heard_++) % kMostPending];
  StepState state;
  double loss = 0;
  std::memcpy(&state, report.state->wait(), sizeof(state));
  std::memcpy(&loss, report.loss->wait(), sizeof(loss));
  TESSERA_CHECK(std::isfinite(loss), "[bench step] the loss of step {} is {}", heard_, loss);
  TESSERA_CHECK(state.halted == 0, "[bench step] the gradients of step {} are not finite", heard_);
  updated_ = state.update != 0;
  if (heard_ > first_timed_ && !updated_) ++skipped_;
}

}  // namespace tessera
