// StepRandom: the random numbers of one training step. Dropout and drop path take a fresh site
// each time they are called; sites are counted in call order and start again every step, so a
// replayed or resumed step draws the same numbers.
// Rule: one at a time on a thread, alive for the whole forward pass.
#pragma once

#include <cstdint>

#include "engine/philox.h"

namespace tessera {

class StepRandom {
 public:
  StepRandom(uint64_t seed, uint32_t iteration);
  ~StepRandom();
  StepRandom(const StepRandom&) = delete;
  StepRandom& operator=(const StepRandom&) = delete;

  // The one alive on this thread. An Error names the layer that asked when there is none.
  static StepRandom& current(const char* layer);

  RandomKey next() { return {seed_, iteration_, site_++}; }
  // A block that runs again in the backward pass puts the counter back to where it began.
  uint32_t site() const { return site_; }
  void set_site(uint32_t site) { site_ = site; }

 private:
  uint64_t seed_;
  uint32_t iteration_;
  uint32_t site_ = kFirstStepSite;
};

}  // namespace tessera
