// From a recipe to the tower that it describes.
#include "train/pretrained.h"

#include "engine/error.h"
#include "models/transfer.h"
#include "train/finetune.h"
#include "train/fnv.h"
#include "train/pretrain_beit.h"
#include "train/pretrain_mae.h"

namespace tessera {
namespace {

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
                           checkpoint.step(), fnv1a(checkpoint.recipe().dump()));
  return encoder;
}

}  // namespace tessera
