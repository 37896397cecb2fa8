// StepRandom: the random numbers of one training step. Dropout and drop path take a fresh site
// each time they are called; sites are counted in call order and start again every step, so a
// replayed or resumed step draws the same numbers.
// Rule: alive for the whole forward pass; the one made last on a thread is the current one.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/philox.h"

namespace tessera {

class StepRandom {
 public:
  StepRandom(uint64_t seed, uint32_t iteration) : StepRandom({seed, iteration, kFirstStepSite}) {}
  // From a place in a step: a block that runs again in the backward pass draws what it drew before.
  explicit StepRandom(RandomKey next);
  ~StepRandom();
  StepRandom(const StepRandom&) = delete;
  StepRandom& operator=(const StepRandom&) = delete;

  // The one alive on this thread. An Error names the layer that asked when there is none.
  static StepRandom& current(const char* layer);
  // The key that next() would give, or none where no StepRandom is alive.
  static std::optional<RandomKey> place();

  RandomKey next() {
    const RandomKey key = next_;
    ++next_.site;
    return key;
  }

 private:
  RandomKey next_;
  StepRandom* before_;
};

}  // namespace tessera
