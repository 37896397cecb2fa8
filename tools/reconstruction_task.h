// What `reconstruct` and `evaluate reconstruction` ask alike: a model, pictures to try it on, and
// masks to hide a part of them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "tools/machine_flags.h"
#include "tools/trained_model.h"

namespace tessera {

// --checkpoint, --arch, --data, --holdout, --mask-ratio, --seed and the machine's.
struct ReconstructionFlags {
  CheckpointFlags model;
  MachineFlags machine;
  std::string data = "builtin:";
  double holdout = 0;
  double mask_ratio = -1;  // < 0: the training's
  uint64_t seed = 0;       // of the masks

  void add_to(CLI::App& app);
};

struct ReconstructionTask {
  TrainedModel trained;
  EvaluationReader reader;
  double mask_ratio;
  uint64_t seed;
};
// Throws what load_model and evaluation_pictures throw; sets the number of threads.
ReconstructionTask prepare(const ReconstructionFlags& flags);

}  // namespace tessera
