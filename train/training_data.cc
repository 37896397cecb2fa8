// Opening, naming, and the recipe's words for the loader.
#include "train/training_data.h"

#include <functional>

#include "train/files/fnv.h"

namespace tessera {
namespace {

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// How many pictures, and a sum over what is said of each.
std::string sum_over(const Dataset& data, const std::function<std::string(int64_t)>& said) {
  uint64_t sum = kFnvStart;
  for (int64_t i = 0; i < data.size(); ++i) sum = fnv1a(said(i), sum);
  return fmt::format("{} pictures, {:016x}", data.size(), sum);
}

}  // namespace

TrainingData open_training_data(const TrainingRecipe& recipe, const std::string& spec) {
  const TrainingRecipe::PictureShape shape = recipe.picture_shape();
  const int height = static_cast<int>(shape.height), width = static_cast<int>(shape.width);
  TrainingData data;
  data.spec = spec;
  data.split = open_data(spec, recipe.holdout, height, width);
  const bool held_out = data.split.held_out->size() > 0;
  data.judged_set = held_out ? data.split.held_out : data.split.train;
  data.judged = std::make_shared<EvaluationReader>(data.judged_set, height, width,
                                                   static_cast<int>(shape.channels));
  data.judged_name = held_out ? "held-out pictures" : "training pictures (nothing is held out)";
  return data;
}

std::string data_id_of(const Dataset& data) {
  if (data.endless()) return fmt::format("builtin:{}", data.size());
  return sum_over(data, [&](int64_t i) {
    return fmt::format("{} {}\n", data.label(i), file_name(data.name(i)));
  });
}

std::string version_of(const Dataset& data) {
  return sum_over(data, [&](int64_t i) {
    return fmt::format("{} {}\n", file_name(data.name(i)), data.version(i));
  });
}

DataOptions reading_of(const TrainingRecipe& recipe) {
  DataOptions d;
  static_cast<AugmentOptions&>(d) = recipe.augmentation();
  d.holdout = recipe.holdout;
  d.seed = recipe.seed;
  d.batch_size = recipe.batch_size;
  return d;
}

}  // namespace tessera
