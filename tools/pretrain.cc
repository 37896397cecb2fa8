// `tessera pretrain mae`: a masked autoencoder from pictures alone.
#include <memory>

#include "tools/command.h"
#include "tools/pretrain_flags.h"

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

Command add_pretrain_mae(CLI::App& pretrain) {
  CLI::App* app = pretrain.add_subcommand("mae", "a masked autoencoder, by completing pictures");
  app->footer(kNotes);
  const auto flags = std::make_shared<PretrainFlags>(*app);
  return {app, [flags] {
            PretrainSettings settings = flags->settings();
            settings.machine.apply();
            settings.options.config_text = flags->config_text(settings);
            return pretrain_mae(settings.recipe, settings.options);
          }};
}

}  // namespace tessera
