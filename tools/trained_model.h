// A model back from a checkpoint, and pictures to try it on: what `reconstruct`, `evaluate`, `info`
// and `export` share.
// Rule: a checkpoint is foreign data: whatever is wrong with it is one line that names the file.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "data/evaluation.h"
#include "models/mae.h"
#include "train/checkpoint.h"
#include "train/pretrain_mae.h"
#include "train/reconstruction.h"

namespace tessera {

// The file that a user means by a checkpoint or a run's folder: its newest whole one. UsageError
// names the flag.
std::string checkpoint_file(const std::string& flag, const std::string& given);

// --checkpoint and --arch.
struct CheckpointFlags {
  std::string checkpoint;  // a file, or a run's folder: its newest whole one
  std::string arch;        // when given, what the checkpoint must be

  void add_to(CLI::App& app);
  // The file; UsageError when there is none.
  std::string path() const;
};

struct OpenedCheckpoint {
  std::string path;
  Checkpoint file;
  MaeRecipe recipe;
};
// UsageError: no such file, another architecture than --arch names. Error: a broken file.
OpenedCheckpoint open_checkpoint(const CheckpointFlags& flags);

struct TrainedModel {
  std::string path;
  MaeRecipe recipe;
  std::unique_ptr<Mae> model;

  const MaeConfig& config() const { return recipe.model; }
  Normalisation normalisation() const { return {recipe.mean, recipe.std}; }
};
TrainedModel load_model(const CheckpointFlags& flags);

// Pictures to judge a model on, in its size: the held-out ones where the set has some, else all.
// Drawn ones are never those of a training: builtin:N is N of another stream. Says the set's note.
EvaluationReader evaluation_pictures(const std::string& spec, double holdout, int64_t height,
                                     int64_t width, int64_t channels);

// Dataset::note() on stderr, where there is one.
void say_note(const Dataset& pictures);

// What must be said with every figure and picture of a norm-pix model.
void say_what_norm_pix_means(const MaeConfig& config);

}  // namespace tessera
