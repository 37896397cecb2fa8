// `tessera pretrain mae`: a masked autoencoder from pictures alone.
#include <memory>

#include "models/presets.h"
#include "tools/command.h"
#include "tools/mae_flags.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "A masked autoencoder (He et al., 2021) sees a quarter of each picture's patches and learns "
    "to\n"
    "complete the rest.\n"
    "\n"
    "The run's folder then holds step-*.safetensors (checkpoints), metrics.jsonl (one record a\n"
    "step; events.* for TensorBoard), reconstruction-*.png (held-out pictures: original, masked,\n"
    "reconstruction, reconstruction with the visible patches) and config.toml (all settings).\n"
    "Ctrl-C finishes the step and saves. --resume takes every setting from the checkpoint; only\n"
    "--threads, --workers, --decoded-cache, --checkpoint-every, --keep, --log-json and --device\n"
    "may differ.\n"
    "\n"
    "Examples:\n"
    "  tessera pretrain mae --data photos/ --out runs/photos\n"
    "  tessera pretrain mae --data cifar/train --holdout 0.04 --arch vit_tiny --image-size 32 \\\n"
    "    --augment shift-flip --mean cifar --std cifar --base-lr 1.5e-3 --batch-size 256 \\\n"
    "    --epochs 8 --out runs/cifar\n"
    "  tessera pretrain mae --resume --out runs/cifar\n"
    "  tessera pretrain mae --config runs/cifar/config.toml --seed 1 --out runs/cifar-1";

}  // namespace

MaeFlags::MaeFlags(CLI::App& app) : TrainingFlags(app, recipe) {
  add_data_flags();
  add_normalisation_flags();
  add_model_flags();
  add_schedule_flags();
  add_optimiser_flags();
  add_run_flags();
}

void MaeFlags::add_model_flags() {
  begin_group("Model");
  add("arch", "NAME", fmt::format("{}", fmt::join(mae_preset_names(), ", ")), recipe.arch);
  add("patch-size", "N",
      "side of a patch, pixels\n[default: the architecture's from 128 pixels "
      "on, 8 from 64, else 4]",
      recipe.model.patch);
  add("dim", "N", "encoder width [default: the architecture's]", recipe.model.dim);
  add("depth", "N", "encoder blocks [default: the architecture's]", recipe.model.depth);
  add("heads", "N", "encoder attention heads [default: the architecture's]", recipe.model.heads);
  add("decoder-dim", "N", "decoder width [default: the architecture's]", recipe.model.decoder_dim);
  add("decoder-depth", "N", "decoder blocks [default: the architecture's]",
      recipe.model.decoder_depth);
  add("decoder-heads", "N", "decoder attention heads [default: the architecture's]",
      recipe.model.decoder_heads);
  add("mlp-ratio", "R", "hidden width of an MLP over its width", recipe.model.mlp_ratio);
  add_mask_flags(recipe.model.mask_ratio, recipe.mask_schedule);
  add("norm-pix-loss", "", "targets normalised patch by patch", recipe.model.norm_pix_loss);
}

void MaeFlags::start_from_arch() {
  recipe.model = mae_preset(recipe.arch);
  published_patch_ = recipe.model.patch;
}

void MaeFlags::finish_recipe() {
  if (given("patch-size")) return;
  recipe.model.patch =
      default_patch(published_patch_, recipe.model.image_height, recipe.model.image_width);
}

Command add_pretrain_mae(CLI::App& pretrain) {
  CLI::App* app = pretrain.add_subcommand("mae", "a masked autoencoder, by completing pictures");
  app->footer(kNotes);
  const auto flags = std::make_shared<MaeFlags>(*app);
  return {app, [flags] {
            flags->read();
            MaeTask task(flags->recipe);
            return train(task, flags->options);
          }};
}

}  // namespace tessera
