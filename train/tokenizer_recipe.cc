// The tokenizer's fields, and loading.
#include "train/tokenizer_recipe.h"

#include <algorithm>

#include "engine/raw.h"
#include "train/checkpoint.h"
#include "train/files/fnv.h"
#include "train/files/naming.h"

namespace tessera {
namespace {

// Over names and values, in the order of the state dict.
uint64_t sum_of_weights(const Module& model) {
  uint64_t sum = kFnvStart;
  for (const NamedTensor& entry : model.state_dict()) {
    const Tensor t = raw::contiguous(raw::to(entry.tensor.detach(), Device::kCpu));
    sum = fnv1a(entry.name, sum);
    sum = fnv1a({static_cast<const char*>(t.view().data),
                 static_cast<size_t>(t.numel()) * size_of(t.dtype())},
                sum);
  }
  return sum;
}

}  // namespace

const std::vector<std::string>& tokenizer_names() {
  static const std::vector<std::string> names = {"dvae", "dalle"};
  return names;
}

TokenizerRecipe::TokenizerRecipe() {
  arch = "dvae";
  base_lr = 1e-3;  // BEiT's train_vae.py has Adam at 1e-3
  beta2 = 0.999;
  weight_decay = 1e-4;
  ema_decay = 0.999;
}

std::vector<RecipeField> TokenizerRecipe::fields() {
  std::vector<RecipeField> list = TrainingRecipe::fields();
  const RecipeField own[] = {
      {"vocab", &vocab},
      {"width", &width},
      {"codebook-dim", &codebook_dim},
      {"layers", &layers},
      {"smooth-l1-loss", &smooth_l1_loss},
      {"blocks-per-group", &blocks_per_group},
      {"decoder-width", &decoder_width},
      {"temperature-end", &temperature_end},
      {"temperature-steps", &temperature_steps},
      {"kl-weight", &kl_weight},
      {"kl-steps", &kl_steps},
      {"straight-through", &straight_through},
  };
  list.insert(list.end(), std::begin(own), std::end(own));
  return list;
}

void TokenizerRecipe::check() const {
  const auto& names = tokenizer_names();
  TESSERA_CHECK_USAGE(std::find(names.begin(), names.end(), arch) != names.end(),
                      "there is no tokenizer '{}'; there are {}", arch, fmt::join(names, ", "));
  if (arch == "dvae") {
    dvae().check();
  } else {
    dalle().check();
  }
  TESSERA_CHECK_USAGE(image_height > 0 && image_width > 0 && image_height % reduction() == 0 &&
                          image_width % reduction() == 0,
                      "image size {}x{} does not divide into tokens of {}x{} pixels", image_height,
                      image_width, reduction(), reduction());
  TESSERA_CHECK_USAGE(temperature_end > 0, "--temperature-end must be positive, got {}",
                      temperature_end);
  TESSERA_CHECK_USAGE(kl_weight >= 0, "--kl-weight must not be negative, got {}", kl_weight);
  TrainingRecipe::check();
}

DvaeConfig TokenizerRecipe::dvae() const {
  DvaeConfig config;
  config.channels = channels;
  config.vocab = vocab;
  config.codebook_dim = codebook_dim;
  config.layers = layers;
  config.hidden = width;
  config.smooth_l1_loss = smooth_l1_loss;
  return config;
}

DalleConfig TokenizerRecipe::dalle() const {
  DalleConfig config;
  config.channels = channels;
  config.vocab = vocab;
  config.width = width;
  config.blocks_per_group = blocks_per_group;
  config.decoder_width = decoder_width;
  return config;
}

ModelCost TokenizerRecipe::cost() const {
  return arch == "dvae" ? cost_of(dvae(), image_height, image_width)
                        : cost_of(dalle(), image_height, image_width);
}

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerRecipe& recipe) {
  if (recipe.arch == "dvae") return std::make_unique<Dvae>(recipe.dvae());
  return std::make_unique<Dalle>(recipe.dalle());
}

TrainedTokenizer load_tokenizer(const std::string& path) {
  const Checkpoint checkpoint(path);
  TrainedTokenizer trained;
  read_recipe(trained.recipe, checkpoint);
  naming(path, [&] {
    trained.recipe.check();
    trained.model = make_tokenizer(trained.recipe);
    trained.model->load_state_dict(checkpoint.weights());
  });
  trained.model->set_training(false);
  trained.model->set_trainable(false);
  trained.id = fmt::format("{} of {} tokens, {:016x}", trained.recipe.arch, trained.recipe.vocab,
                           sum_of_weights(*trained.model));
  return trained;
}

}  // namespace tessera
