// Models that others have trained and published, as this program's own: MAE and BEiT from their
// repositories' files, DALL-E's tokenizer from its two.
// Rule: what a model is follows from the names and shapes of its tensors. What those do not say
// comes from the named size they fit (models/presets.h) or from the caller; a tensor that the model
// does not have is an error, not left out.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"
#include "train/recipe.h"

namespace tessera {

using StateDict = std::map<std::string, Tensor>;

// What a state dict cannot say; 0: that of the named size, and its mean and deviation are the ones
// the model was published with.
struct PublishedOptions {
  int64_t heads = 0, decoder_heads = 0;
  bool norm_pix_loss = false;  // a MAE's targets were normalised
};

struct PublishedModel {
  std::unique_ptr<TrainingRecipe> recipe;  // what a checkpoint must say for others to build it
  std::vector<NamedTensor> weights;        // f32, under the model's own names
  std::string what;                        // "MAE vit_base", for people
};

// One file's tensors, or the two of DALL-E in any order. UsageError for what is none of the three
// models or whose heads nobody names; an Error names the tensor that does not fit.
PublishedModel published_model(const std::vector<StateDict>& files,
                               const PublishedOptions& options);

}  // namespace tessera
