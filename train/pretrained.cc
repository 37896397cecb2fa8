// From a recipe to the tower that it describes.
#include "train/pretrained.h"

#include <string_view>

#include "engine/error.h"
#include "models/transfer.h"
#include "train/finetune.h"
#include "train/pretrain_beit.h"
#include "train/pretrain_mae.h"

namespace tessera {
namespace {

// FNV-1a.
uint64_t sum_of(std::string_view text) {
  uint64_t sum = 0xcbf29ce484222325u;
  for (const unsigned char c : text) sum = (sum ^ c) * 0x100000001b3u;
  return sum;
}

PretrainedEncoder described(const TrainingRecipe& recipe, const VitConfig& config,
                            FinalNorm final_norm) {
  return {recipe.arch, config, final_norm, recipe.mean, recipe.std, ""};
}

PretrainedEncoder encoder_of_recipe(const Checkpoint& checkpoint) {
  const std::string task = task_of(checkpoint.recipe());
  MaeRecipe mae;
  BeitRecipe beit;
  FinetuneRecipe classifier;
  if (task == mae.task()) {
    read_recipe(mae, checkpoint);
    return described(mae, encoder_of(mae.model), FinalNorm::kTokens);
  }
  if (task == beit.task()) {
    read_recipe(beit, checkpoint);
    return described(beit, beit.model, FinalNorm::kTokens);
  }
  if (task == classifier.task()) {
    read_recipe(classifier, checkpoint);
    const bool pools = classifier.model.pooling == Pooling::kMean;
    return described(classifier, classifier.model, pools ? FinalNorm::kPooled : FinalNorm::kTokens);
  }
  throw UsageError(
      fmt::format("{}: a checkpoint of '{}' holds no encoder", checkpoint.file().path(), task));
}

}  // namespace

PretrainedEncoder encoder_in(const Checkpoint& checkpoint) {
  PretrainedEncoder encoder = encoder_of_recipe(checkpoint);
  encoder.config.drop_path = 0;  // belongs to a training, not to the encoder
  encoder.id = fmt::format("{}, step {}, recipe {:016x}", task_of(checkpoint.recipe()),
                           checkpoint.step(), sum_of(checkpoint.recipe().dump()));
  return encoder;
}

}  // namespace tessera
