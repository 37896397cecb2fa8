// The current step's random numbers, one pointer for each thread.
#include "nn/step_random.h"

#include "engine/error.h"

namespace tessera {
namespace {

thread_local StepRandom* current_step = nullptr;

}  // namespace

StepRandom::StepRandom(RandomKey next) : next_(next), before_(current_step) { current_step = this; }

StepRandom::~StepRandom() { current_step = before_; }

std::optional<RandomKey> StepRandom::place() {
  return current_step == nullptr ? std::nullopt : std::optional(current_step->next_);
}

StepRandom& StepRandom::current(const char* layer) {
  TESSERA_CHECK(current_step != nullptr,
                "[{}] in training it needs a StepRandom that says seed and iteration", layer);
  return *current_step;
}

}  // namespace tessera
