// `tessera tokenizer train`: a discrete autoencoder, whose tokens BEiT learns to predict.
#include <memory>

#include "tools/command.h"
#include "tools/training_flags.h"
#include "train/train_tokenizer.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "The encoder gives every place of a picture one of V tokens, the decoder paints the picture\n"
    "from them (Ramesh et al., 2021). dvae is the small tokenizer of BEiT's repository, dalle "
    "that\n"
    "of DALL-E. Watch codes_used and perplexity in metrics.jsonl: a codebook of which little is "
    "in\n"
    "use teaches nothing, and is warned of. tokens-*.png shows pictures beside what their tokens\n"
    "keep. Evaluations, and those who use the tokenizer, take the averaged weights.\n"
    "Ctrl-C, --resume and --config work as for `tessera pretrain mae`.\n"
    "\n"
    "Examples:\n"
    "  tessera tokenizer train --data cifar/train --holdout 0.1 --image-size 32 --layers 2 \\\n"
    "    --vocab 512 --width 64 --codebook-dim 64 --augment shift-flip --epochs 5 \\\n"
    "    --out runs/tokenizer\n"
    "  tessera tokenizer train --resume --out runs/tokenizer";

class TokenizerFlags : public TrainingFlags {
 public:
  explicit TokenizerFlags(CLI::App& app) : TrainingFlags(app, recipe) {
    add_data_flags();
    add_model_flags();
    add_objective_flags();
    add_schedule_flags();
    add_optimiser_flags();
    add_run_flags();
  }

  TokenizerRecipe recipe;

 private:
  void add_model_flags() {
    begin_group("Model");
    add("arch", "NAME", fmt::format("{}", fmt::join(tokenizer_names(), " or ")), recipe.arch);
    add("vocab", "N", "tokens in the codebook", recipe.vocab);
    add("width", "N", "of the convolutions", recipe.width);
    add("layers", "N", "dvae: a token spans 2^N pixels (dalle: 8)", recipe.layers);
    add("codebook-dim", "N", "dvae: width of a token's entry", recipe.codebook_dim);
    add("smooth-l1-loss", "", "dvae: in place of the mean squared error", recipe.smooth_l1_loss);
    add("blocks-per-group", "N", "dalle: residual blocks of each width", recipe.blocks_per_group);
    add("decoder-width", "N", "dalle: of the decoder's first layer", recipe.decoder_width);
  }

  void add_objective_flags() {
    begin_group("Objective");
    add("temperature-end", "T", "of the Gumbel-softmax, which falls from 1 in half a cosine",
        recipe.temperature_end);
    add("temperature-steps", "N", "steps of that fall [default: half the run]",
        recipe.temperature_steps);
    add("kl-weight", "W",
        "of KL(tokens || uniform), nats a place; it rises from 0 in half a\n"
        "cosine. DALL-E: 0.034",
        recipe.kl_weight);
    add("kl-steps", "N", "steps of that rise [default: a twentieth of the run]", recipe.kl_steps);
    add("straight-through", "", "the decoder sees one token a place, not the mixture",
        recipe.straight_through);
  }

  void start_from_arch() override {}
  // Tokenizers see pictures as they are, in [0, 1].
  void finish_recipe() override {
    recipe.mean.assign(static_cast<size_t>(recipe.channels), 0.0f);
    recipe.std.assign(static_cast<size_t>(recipe.channels), 1.0f);
  }
};

}  // namespace

Command add_tokenizer_train(CLI::App& tokenizer) {
  CLI::App* app = tokenizer.add_subcommand("train", "a codebook of visual tokens, from pictures");
  app->footer(kNotes);
  const auto flags = std::make_shared<TokenizerFlags>(*app);
  return {app, [flags] {
            flags->read();
            TokenizerTask task(flags->recipe);
            return train(task, flags->options);
          }};
}

}  // namespace tessera
