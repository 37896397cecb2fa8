// What the commands that look at an encoder ask alike: a checkpoint of any kind, and where to run.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "data/evaluation.h"
#include "tools/machine_flags.h"
#include "tools/trained_model.h"
#include "train/picture_batches.h"
#include "train/probes/features.h"
#include "train/trained_encoder.h"

namespace tessera {

// --checkpoint, --arch and the machine's.
struct EncoderFlags {
  CheckpointFlags model;
  MachineFlags machine;

  void add_to(CLI::App& app);
};

struct EncoderTask {
  std::string path;
  TrainedEncoder trained;

  const VitConfig& config() const { return trained.model->config(); }
  EvaluationReader reader(std::shared_ptr<const Dataset> pictures) const;
  // The block asked for, the last for 0, or all of them. UsageError when there is none.
  std::vector<int64_t> blocks(int64_t asked, bool all = false) const;
  // With progress on stderr.
  Features features(const EvaluationReader& reader, const FeatureRequest& request) const;
};
// Sets the number of threads; the encoder is on the device asked for. Throws what opening a
// checkpoint throws.
EncoderTask prepare(const EncoderFlags& flags);

}  // namespace tessera
