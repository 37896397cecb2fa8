// From a recipe to the tower it describes, and the weights into it.
#include "train/trained_encoder.h"

#include "engine/error.h"
#include "models/transfer.h"
#include "train/pretrain_mae.h"

namespace tessera {

TrainedEncoder trained_encoder(const Checkpoint& checkpoint) {
  try {
    MaeRecipe recipe;
    read_recipe(recipe, checkpoint);
    recipe.check();
    TrainedEncoder trained{
        std::make_unique<VitEncoder>(encoder_of(recipe.model), FinalNorm::kTokens),
        {recipe.mean, recipe.std}};
    trained.model->load(read_tensors(checkpoint.file(), is_weight));
    return trained;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", checkpoint.file().path(), error.what()));
  }
}

}  // namespace tessera
