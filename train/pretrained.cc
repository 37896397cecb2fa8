// From a recipe to the tower that it describes.
#include "train/pretrained.h"

#include "engine/error.h"
#include "models/transfer.h"
#include "train/files/fnv.h"
#include "train/finetune.h"
#include "train/pretrain_beit.h"
#include "train/pretrain_mae.h"

namespace tessera {
namespace {

PretrainedEncoder described(const TrainingRecipe& recipe, const VitConfig& config,
                            FinalNorm final_norm) {
  return {recipe.arch, config, final_norm, recipe.mean, recipe.std, {}, ""};
}

FinalNorm norm_of(const FinetuneRecipe& classifier) {
  return classifier.model.pooling == Pooling::kMean ? FinalNorm::kPooled : FinalNorm::kTokens;
}

// visit(recipe) with the recipe of the task that made the checkpoint.
template <class Visitor>
auto visit_recipe(const Checkpoint& checkpoint, const Visitor& visit) {
  const std::string task = task_of(checkpoint.recipe());
  const auto read = [&](auto recipe) {
    read_recipe(recipe, checkpoint);
    return visit(recipe);
  };
  if (task == MaeRecipe().task()) return read(MaeRecipe());
  if (task == BeitRecipe().task()) return read(BeitRecipe());
  if (task == FinetuneRecipe().task()) return read(FinetuneRecipe());
  throw UsageError(
      fmt::format("{}: a checkpoint of '{}' holds no encoder", checkpoint.file().path(), task));
}

struct Describe {
  PretrainedEncoder operator()(const MaeRecipe& mae) const {
    return described(mae, encoder_of(mae.model), FinalNorm::kTokens);
  }
  PretrainedEncoder operator()(const BeitRecipe& beit) const {
    return described(beit, beit.model, FinalNorm::kTokens);
  }
  PretrainedEncoder operator()(const FinetuneRecipe& classifier) const {
    PretrainedEncoder encoder = described(classifier, classifier.model, norm_of(classifier));
    encoder.classes = classifier.classes;
    return encoder;
  }
};

struct Begin {
  uint64_t seed;

  using Weights = std::map<std::string, Tensor>;
  Weights operator()(const MaeRecipe& mae) const { return of(Mae(mae.model, seed)); }
  Weights operator()(const BeitRecipe& beit) const { return of(Beit(beit.model, seed)); }
  Weights operator()(const FinetuneRecipe& classifier) const {
    return of(VitClassifier(classifier.model, seed));
  }
  static Weights of(const Module& model) {
    Weights weights;
    for (const NamedTensor& t : model.state_dict()) weights[t.name] = t.tensor;
    return weights;
  }
};

}  // namespace

PretrainedEncoder encoder_in(const Checkpoint& checkpoint) {
  PretrainedEncoder encoder = visit_recipe(checkpoint, Describe{});
  encoder.config.drop_path = 0;  // belongs to a training, not to the encoder
  encoder.id = fmt::format("{}, step {}, recipe {:016x}", task_of(checkpoint.recipe()),
                           checkpoint.step(), fnv1a(checkpoint.recipe().dump()));
  return encoder;
}

std::map<std::string, Tensor> untrained_weights(const Checkpoint& checkpoint, uint64_t seed) {
  return visit_recipe(checkpoint, Begin{seed});
}

}  // namespace tessera
