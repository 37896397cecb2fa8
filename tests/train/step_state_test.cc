// What a step's state decides: the loss scale after clean updates and overflows, clipping,
// counting, and when no update is made any more.
#include "engine/step_state.h"

#include <catch2/catch.hpp>
#include <limits>

namespace tessera {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr StepRule kScaled = {.scaled_loss = true};

StepState scaled(double value = LossScale::kInitial) {
  StepState state;
  state.scale.value = value;
  return state;
}

// One step with this loss and this sum of the gradients' squares.
void step(const StepRule& rule, double loss, float sum_squares, StepState* state) {
  judge(rule, &loss, 1, 1, &sum_squares, state);
}

TEST_CASE("without a loss scale nothing is scaled, and a NaN ends all updates") {
  StepState state;
  step({}, 1, 4, &state);
  CHECK(state.update == 1);
  CHECK(state.updates == 1);
  CHECK(state.scale.value == 1);
  CHECK(state.gradient_norm == 2);
  CHECK(state.grad_scale == 1);
  step({}, kInf, 4, &state);
  CHECK(state.update == 0);
  CHECK(state.halted == 1);
  step({}, 1, 4, &state);  // queued before anybody knew
  CHECK(state.update == 0);
  CHECK(state.updates == 1);
}

TEST_CASE("any loss of a step and the gradients' norm are looked at") {
  const double losses[] = {1, 7, 2, 7, kInf, 7};
  const float sum_squares = 1, overflow = std::numeric_limits<float>::infinity();
  StepState state = scaled();
  judge(kScaled, losses, 2, 2, &sum_squares, &state);
  CHECK(state.update == 1);
  judge(kScaled, losses, 3, 2, &sum_squares, &state);
  CHECK(state.update == 0);
  judge(kScaled, losses, 2, 2, &overflow, &state);
  CHECK(state.update == 0);
  CHECK(state.updates == 1);
  judge(kScaled, nullptr, 0, 0, nullptr, &state);  // nobody asks
  CHECK(state.update == 1);
}

TEST_CASE("2000 clean updates double the scale, an overflow halves it and starts the count again") {
  StepState state = scaled();
  const auto clean = [&](int count) {
    for (int i = 0; i < count; ++i) step(kScaled, 1, 1, &state);
  };
  clean(1999);
  CHECK(state.scale.value == 65536);
  clean(1);
  CHECK(state.scale.value == 2 * 65536);
  CHECK(state.loss_seed == 2 * 65536);
  clean(1999);
  step(kScaled, kInf, 1, &state);
  CHECK(state.scale.value == 65536);
  CHECK(state.halted == 0);
  clean(1999);
  CHECK(state.scale.value == 65536);
  clean(1);
  CHECK(state.scale.value == 2 * 65536);
  CHECK(state.updates == 2000 + 1999 + 2000);
}

TEST_CASE("the scale does not fall below one, where backing off ends") {
  StepState state = scaled();
  for (int i = 0; i < 16; ++i) {
    CHECK(state.scale.can_back_off());
    step(kScaled, kInf, 1, &state);
    CHECK(state.halted == 0);
  }
  CHECK(state.scale.value == 1);
  CHECK_FALSE(state.scale.can_back_off());
  step(kScaled, kInf, 1, &state);
  CHECK(state.halted == 1);
}

TEST_CASE("gradients are unscaled and clipped as they are read") {
  StepState state = scaled(1024);
  const StepRule rule = {.clip = 2, .scaled_loss = true};
  step(rule, 1, 4096.0f * 4096.0f, &state);  // a norm of 4
  CHECK(state.gradient_norm == 4);
  CHECK(state.grad_scale == 2 / (4 + 1e-6) / 1024);
  step(rule, 1, 1024.0f * 1024.0f, &state);  // of 1
  CHECK(state.grad_scale == 1.0 / 1024);
}

TEST_CASE("corrections and the average's decay go by the updates that were made") {
  StepState state = scaled();
  const StepRule rule = {.beta1 = 0.9, .beta2 = 0.95, .average_decay = 0.5, .scaled_loss = true};
  step(rule, 1, 1, &state);
  step(rule, kInf, 1, &state);
  step(rule, 1, 1, &state);
  CHECK(state.updates == 2);
  CHECK(state.correction1 == 1 - std::pow(0.9, 2));
  CHECK(state.correction2 == 1 - std::pow(0.95, 2));
  CHECK(state.average_decay == 3.0 / 12);
  for (int i = 0; i < 20; ++i) step(rule, 1, 1, &state);
  CHECK(state.average_decay == 0.5);
}

}  // namespace
}  // namespace tessera
