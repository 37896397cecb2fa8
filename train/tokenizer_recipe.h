// What a tokenizer's training is made of, and a trained tokenizer back from its checkpoint.
// Rule: a tokenizer is known by its weights: the same pictures get the same ids from whatever bears
// the same id.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/dalle.h"
#include "models/dvae.h"
#include "models/flops.h"
#include "train/recipe.h"

namespace tessera {

const std::vector<std::string>& tokenizer_names();  // "dvae", "dalle"

struct TokenizerRecipe : TrainingRecipe {
  int64_t image_height = 112, image_width = 112, channels = 3;
  int64_t vocab = 8192;
  int64_t width = 256;  // of the convolutions
  // dvae
  int64_t codebook_dim = 512, layers = 3;
  bool smooth_l1_loss = false;
  // dalle
  int64_t blocks_per_group = 2, decoder_width = 128;

  // Of the Gumbel-softmax: half a cosine from 1 to temperature_end over temperature_steps, < 0:
  // over half the run. Ramesh et al., 2021, appendix A.2.
  double temperature_end = 0.0625;
  int64_t temperature_steps = -1;
  // Of the KL term (TokenizerStep::kl_weight): half a cosine from 0 to kl_weight over kl_steps,
  // < 0: over a twentieth of the run. Without it little of a codebook stays in use (26 of 256
  // tokens after 250 steps on drawn pictures, 163 with it, at 0.4 dB less).
  double kl_weight = 0.01;
  int64_t kl_steps = -1;
  bool straight_through = false;

  TokenizerRecipe();
  std::string task() const override { return "tokenizer"; }
  std::string command() const override { return "tokenizer train"; }
  PictureFields picture() override { return {image_height, image_width, channels}; }
  std::vector<RecipeField> fields() override;
  void check() const override;

  DvaeConfig dvae() const;
  DalleConfig dalle() const;
  int64_t reduction() const { return arch == "dalle" ? 8 : int64_t{1} << layers; }
  ModelCost cost() const;
};

// All zero, for weights that are loaded next.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerRecipe& recipe);

struct TrainedTokenizer {
  TokenizerRecipe recipe;
  std::unique_ptr<Tokenizer> model;  // in evaluation mode, without gradients
  std::string id;                    // "dvae of 512 tokens, 0123456789abcdef": a sum over weights
};

// The averaged weights where the checkpoint has some. A UsageError names a file that is missing or
// of another task, an Error a broken one.
TrainedTokenizer load_tokenizer(const std::string& checkpoint);

}  // namespace tessera
