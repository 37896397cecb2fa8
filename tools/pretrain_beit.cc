// `tessera pretrain beit`: guessing the visual tokens of hidden patches.
#include "train/pretrain_beit.h"

#include <memory>

#include "models/presets.h"
#include "tools/command.h"
#include "tools/trained_model.h"
#include "tools/training_flags.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "BEiT (Bao et al., 2021) sees a picture in which some patches are replaced by a mask token,\n"
    "and says which of a tokenizer's tokens belongs in each of their places. A tokenizer comes\n"
    "from `tessera tokenizer train`; it is shown the same cut of the picture in the size that\n"
    "gives one token a patch.\n"
    "\n"
    "prediction-*.png shows, from the left: original, what the model sees, what the picture's own\n"
    "tokens decode to, and the same with the model's tokens in the hidden places. All else in the\n"
    "run's folder, Ctrl-C, --resume and --config are as for `tessera pretrain mae`.\n"
    "\n"
    "Examples:\n"
    "  tessera pretrain beit --tokenizer runs/tokenizer --data photos/ --out runs/beit\n"
    "  tessera pretrain beit --tokenizer runs/tokenizer --data cifar/train --holdout 0.1 \\\n"
    "    --arch vit_tiny --image-size 32 --augment flip --token-cache runs/tokens.safetensors \\\n"
    "    --batch-size 256 --epochs 20 --out runs/beit\n"
    "  tessera pretrain beit --resume --out runs/beit";

class BeitFlags : public TrainingFlags {
 public:
  explicit BeitFlags(CLI::App& app) : TrainingFlags(app, recipe), app_(app) {
    add_data_flags();
    replace_default("--color-jitter", fmt::format("[default: {} with crop-flip, else 0]",
                                                  BeitRecipe::kReferenceJitter));
    add_normalisation_flags();
    begin_group("Model");
    add("arch", "NAME", fmt::format("{}", fmt::join(beit_preset_names(), ", ")), recipe.arch);
    add_tower_flags(recipe.model);
    add_token_flags();
    add_schedule_flags();
    add_optimiser_flags();
    replace_default("--clip-grad", fmt::format("[default: {}, vit_large {}]",
                                               BeitRecipe::reference_clip("vit_base"),
                                               BeitRecipe::reference_clip("vit_large")));
    add_run_flags();
  }

  BeitRecipe recipe;
  std::string tokenizer, cache, tokenizer_size;

  // UsageError when --tokenizer-size gives other tokens than patches.
  void check_size(const TrainedTokenizer& trained) const {
    if (tokenizer_size.empty()) return;
    const auto [height, width] = image_size_from("--tokenizer-size", tokenizer_size);
    const int64_t span = trained.model->reduction();
    const Grid grid = recipe.model.grid();
    TESSERA_CHECK_USAGE(
        height == grid.rows * span && width == grid.columns * span,
        "--tokenizer-size {}: the tokenizer makes {}x{} tokens of it, the model has {}x{} patches",
        tokenizer_size, height / span, width / span, grid.rows, grid.columns);
  }

 private:
  // In a flag's help, for a default that depends on other flags.
  void replace_default(const std::string& flag, const std::string& text) {
    CLI::Option* option = app_.get_option(flag);
    std::string help = option->get_description();
    help.replace(help.rfind("[default"), std::string::npos, text);
    option->description(help);
  }

  void add_token_flags() {
    begin_group("Masks and tokens");
    add_path("tokenizer", "PATH", "a tokenizer's checkpoint, or its run's folder", tokenizer,
             Role::kRun);
    add("tokenizer-size", "N|HxW",
        "refuse a tokenizer that wants another picture for a token a patch\n"
        "[default: take what it wants]",
        tokenizer_size, Role::kStart);
    add_path("token-cache", "FILE",
             "keep every picture's tokens in this .safetensors file, for --augment\n"
             "none and flip without --color-jitter\n"
             "[default: the tokenizer runs in every step]",
             cache, Role::kRun);
    add_word("mask", "block, block-exact (as many in every picture) or random", recipe.mask,
             mask_kind_from_name);
    add_mask_flags(recipe.mask_ratio, recipe.mask_schedule);
    add("min-block", "N", "patches of a block, at least [default: 16 of 14x14]", recipe.min_block);
    add("max-block", "N", "new patches of a block, at most [default: all that are missing]",
        recipe.max_block);
  }

  void start_from_arch() override {
    recipe.model = beit_preset(recipe.arch);
    recipe.clip_grad = BeitRecipe::reference_clip(recipe.arch);
    published_patch_ = recipe.model.patch;
  }
  void finish_recipe() override {
    if (!given("patch-size")) {
      recipe.model.patch =
          default_patch(published_patch_, recipe.model.image_height, recipe.model.image_width);
    }
    // A run that goes on knows its own; one from before there was jitter has none, and so has its
    // config.toml.
    const bool new_settings = !goes_on() && !has_settings_file();
    if (!given("color-jitter") && new_settings && recipe.augment == Augment::kCropFlip) {
      recipe.color_jitter = BeitRecipe::kReferenceJitter;
    }
  }

  CLI::App& app_;
  int64_t published_patch_ = 0;  // of the architecture
};

}  // namespace

Command add_pretrain_beit(CLI::App& pretrain) {
  CLI::App* app = pretrain.add_subcommand("beit", "BEiT, by guessing the tokens of hidden patches");
  app->footer(kNotes);
  const auto flags = std::make_shared<BeitFlags>(*app);
  return {app, [flags] {
            flags->read();
            flags->recipe.check();
            TrainedTokenizer tokenizer =
                load_tokenizer(checkpoint_file("--tokenizer", flags->tokenizer));
            flags->check_size(tokenizer);
            tokenizer.model->move_to(flags->options.device);
            BeitTask task(flags->recipe, std::move(tokenizer), flags->cache,
                          flags->options.dry_run);
            return train(task, flags->options);
          }};
}

}  // namespace tessera
