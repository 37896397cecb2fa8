// The pictures of a run: what it trains on, what it is judged on, and how they are read.
// Rule: the same pictures have the same id, in whatever folder they lie; whether the files have
// been changed since is another question (version_of).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/evaluation.h"
#include "data/loader.h"
#include "data/open.h"
#include "train/recipe.h"

namespace tessera {

// The pictures of a run.
struct TrainingData {
  std::string spec;  // what the user named
  DataSplit split;
  // Pictures to judge on, in the model's shape: those held out, else those of the training.
  std::shared_ptr<const Dataset> judged_set;
  std::shared_ptr<const EvaluationReader> judged;
  std::string judged_name;  // "held-out pictures"
};

// In the shape that the recipe's model takes. Errors are open_data's.
TrainingData open_training_data(const TrainingRecipe& recipe, const std::string& spec);

// "45000 pictures, 5a09dab37f2564fd": how many, and a sum over labels and file names. A resumed run
// must find it again: a copy of a folder has the same.
std::string data_id_of(const Dataset& data);

// "45000 pictures, 5a09dab37f2564fd": how many, and a sum over names and Dataset::version(), for
// what was made from these very pictures. Files that were replaced, or copied without their times,
// have another.
std::string version_of(const Dataset& data);

// How the recipe wants them read; where to, by how many threads and with how many bytes of decoded
// pictures kept is the caller's to add.
DataOptions reading_of(const TrainingRecipe& recipe);

}  // namespace tessera
