// What the commands that use a fine-tuned model ask alike: its checkpoint, pictures, and answers.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "data/evaluation.h"
#include "tools/machine_flags.h"
#include "tools/trained_model.h"
#include "train/finetune.h"
#include "train/picture_batches.h"

namespace tessera {

// --checkpoint and the machine's.
struct ClassifierFlags {
  std::string checkpoint;
  MachineFlags machine;

  void add_to(CLI::App& app);
};

struct ClassifierTask {
  std::string path;
  TrainedClassifier trained;

  const std::vector<std::string>& classes() const { return trained.recipe.classes; }
  // As evaluation_pictures(), in the model's size.
  EvaluationReader reader(const std::string& data, double holdout) const;
  // UsageError unless pictures of these classes are what the model's head tells apart.
  void check_classes(const std::vector<std::string>& names, const std::string& data) const;
  // With progress on stderr.
  Answers answers(const EvaluationReader& reader, const std::vector<int64_t>& pictures) const;
};
// Sets the number of threads; the model is on the device asked for. UsageError: no such file, no
// fine-tuned model.
ClassifierTask prepare(const ClassifierFlags& flags);

}  // namespace tessera
