// The current step's random numbers, one pointer for each thread.
#include "nn/step_random.h"

#include "engine/error.h"

namespace tessera {
namespace {

thread_local StepRandom* current_step = nullptr;

}  // namespace

StepRandom::StepRandom(uint64_t seed, uint32_t iteration) : seed_(seed), iteration_(iteration) {
  TESSERA_CHECK(current_step == nullptr, "[step_random] the step before has not ended");
  current_step = this;
}

StepRandom::~StepRandom() { current_step = nullptr; }

StepRandom& StepRandom::current(const char* layer) {
  TESSERA_CHECK(current_step != nullptr,
                "[{}] in training it needs a StepRandom that says seed and iteration", layer);
  return *current_step;
}

}  // namespace tessera
