// `tessera finetune`: a classifier of labelled pictures, from a pre-trained encoder or from
// scratch.
#include <filesystem>
#include <memory>

#include "autograd/tape.h"
#include "data/open.h"
#include "engine/error.h"
#include "models/names.h"
#include "models/presets.h"
#include "models/transfer.h"
#include "tools/command.h"
#include "tools/finetune_flags.h"
#include "tools/trained_model.h"
#include "train/pretrained.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "The pictures lie in one subfolder a class. The encoder comes from a checkpoint of `pretrain`\n"
    "(or of `finetune`: a second fine-tuning), also for pictures of another size; --from-scratch\n"
    "draws its weights instead, all else being the same. The defaults are MAE's for a ViT-B on\n"
    "ImageNet; a small model on small pictures wants --layer-decay 1 to 0.85, --drop-path 0 and\n"
    "fewer epochs with less augmentation.\n"
    "\n"
    "Each evaluation judges all held-out pictures (or 1,000 of the training's): the share whose\n"
    "class is the likeliest (top 1) or among the five likeliest (top 5). With --ema-decay it\n"
    "judges the averaged weights.\n"
    "--resume takes every setting from the checkpoint, as in `pretrain`.\n"
    "\n"
    "Examples:\n"
    "  tessera finetune --checkpoint runs/photos --data birds/ --holdout 0.1 --out runs/birds\n"
    "  tessera finetune --checkpoint runs/cifar --data cifar/train --holdout 0.04 --epochs 4 \\\n"
    "    --batch-size 256 --base-lr 1e-3 --augment shift-flip --layer-decay 1 --drop-path 0 \\\n"
    "    --mixup 0 --cutmix 0 --rand-augment 0 --random-erasing 0 --out runs/cifar-classes\n"
    "  tessera finetune --checkpoint runs/cifar --data cifar/train --from-scratch --out runs/base\n"
    "  tessera finetune --checkpoint runs/cifar --data cifar/train --print-groups";

constexpr char kRow[] = "{:22} {:>10} {:>13} {:>8} {:>11}\n";

// Each group's layer, share of the learning rate, weight decay and size; what is frozen; on stdout.
int print_groups(FinetuneTask& task, const std::string& data) {
  FinetuneRecipe& recipe = task.recipe();
  recipe.check();
  task.take_classes(open_data(data, recipe.holdout, static_cast<int>(recipe.model.image_height),
                              static_cast<int>(recipe.model.image_width))
                        .train->class_names(),
                    data);
  const VitClassifier& model = task.build(false);
  std::map<std::string, int64_t> sizes;
  int64_t frozen = 0, frozen_tensors = 0;
  for (const auto& [name, tensor] : model.named_parameters()) {
    sizes[name] = tensor.numel();
    frozen += requires_grad(tensor) ? 0 : tensor.numel();
    frozen_tensors += !requires_grad(tensor);
  }
  fmt::print(kRow, "group", "lr factor", "weight decay", "tensors", "parameters");
  for (const ParameterGroup& group : task.groups()) {
    int64_t size = 0;
    for (const std::string& name : group.names) size += sizes.at(name);
    fmt::print(kRow, group.label, fmt::format("{:.6f}", group.lr_factor),
               fmt::format("{:g}", group.weight_decay), group.names.size(), size);
  }
  if (frozen > 0) fmt::print(kRow, "frozen", "-", "-", frozen_tensors, frozen);
  return 0;
}

}  // namespace

FinetuneFlags::FinetuneFlags(CLI::App& app) : TrainingFlags(app, recipe) {
  add_model_flags();
  add_data_flags();
  add_normalisation_flags();
  app.get_option("--image-size")->description("pixels [default: the encoder's]");
  app.get_option("--channels")->description("3 colours or 1 grey [default: the encoder's]");
  for (const char* name : {"--mean", "--std"}) {
    std::string help = app.get_option(name)->get_description();
    help.replace(help.rfind("imagenet]"), std::string::npos, "the encoder's]");
    app.get_option(name)->description(help);
  }
  add_schedule_flags();
  add_optimiser_flags();
  add("layer-decay", "D", "learning rate of a layer over that of the one above it",
      recipe.layer_decay);
  add("print-groups", "", "list layer, lr factor, weight decay and size of each group, and stop",
      print_groups, Role::kStart);
  add_regularisation_flags();
  add_run_flags();
}

void FinetuneFlags::add_model_flags() {
  begin_group("Model");
  add_path("checkpoint", "PATH", "the encoder: a checkpoint, or a run's folder: its newest",
           checkpoint_, Role::kOrigin);
  add("from-scratch", "",
      "random weights, such as the checkpoint's pre-training began with: the same\n"
      "training without it",
      recipe.from_scratch);
  add("arch", "NAME",
      "with --from-scratch and without --checkpoint; else refuse another\n"
      "[default: the encoder's; from scratch vit_base]",
      recipe.arch);
  add("patch-size", "N", "the same [default: the encoder's]", recipe.model.patch);
  add_word("pooling", "what the head reads: mean (of the patches) or class-token",
           recipe.model.pooling, pooling_from_name);
  add("unfreeze-blocks", "N", "train the last N blocks, norm and head only [default: everything]",
      recipe.unfreeze_blocks);
}

void FinetuneFlags::add_regularisation_flags() {
  begin_group("Regularisation");
  add("drop-path", "P", "chance that a picture skips the last block's halves; less below it",
      recipe.model.drop_path);
  add("label-smoothing", "S", "share of the target that is spread over all classes",
      recipe.label_smoothing);
  add("mixup", "ALPHA", "blend pictures by shares from Beta(ALPHA, ALPHA), 0: never", recipe.mixup);
  add("cutmix", "ALPHA", "paste boxes of such shares, 0: never; of both, one a batch",
      recipe.cutmix);
  add("rand-augment", "M", "RandAugment's magnitude, to 10, 0: none", recipe.rand_augment);
  add("random-erasing", "P", "chance that a rectangle of a picture becomes noise",
      recipe.random_erasing);
}

std::string FinetuneFlags::encoder_file() const {
  return checkpoint_.empty() || goes_on() ? "" : CheckpointFlags{checkpoint_, ""}.path();
}

bool FinetuneFlags::comes_first(const std::string& flag) const {
  return flag == "arch" || flag == "checkpoint" || flag == "from-scratch";
}

void FinetuneFlags::start_from_arch() {
  if (goes_on()) return;  // which knows its model
  VitConfig& model = recipe.model;
  const double drop_path = model.drop_path;
  if (checkpoint_.empty()) {
    TESSERA_CHECK_USAGE(recipe.from_scratch,
                        "--checkpoint: name a pre-trained run, or train --from-scratch");
    const MaeConfig preset = mae_preset(recipe.arch);
    model = encoder_of(preset);
    published_patch_ = preset.patch;
  } else {
    const Checkpoint file(CheckpointFlags{checkpoint_, ""}.path());
    const PretrainedEncoder encoder = encoder_in(file);
    TESSERA_CHECK_USAGE(!given("arch") || recipe.arch == encoder.arch, "--arch {}: {} holds a {}",
                        recipe.arch, file.file().path(), encoder.arch);
    recipe.arch = encoder.arch;
    recipe.mean = encoder.mean;
    recipe.std = encoder.std;
    model = encoder_ = encoder_of(encoder.config);
  }
  model.drop_path = drop_path;
}

void FinetuneFlags::finish_recipe() {
  if (goes_on()) return;
  VitConfig& model = recipe.model;
  if (checkpoint_.empty()) {
    if (!given("patch-size")) {
      model.patch = default_patch(published_patch_, model.image_height, model.image_width);
    }
    return;
  }
  TESSERA_CHECK_USAGE(model.patch == encoder_.patch,
                      "--patch-size {}: the encoder's patches are {}", model.patch, encoder_.patch);
  TESSERA_CHECK_USAGE(model.channels == encoder_.channels, "--channels {}: the encoder sees {}",
                      model.channels, encoder_.channels);
}

Command add_finetune(CLI::App& root) {
  CLI::App* app = root.add_subcommand("finetune", "train a classifier on a pre-trained encoder");
  app->footer(kNotes);
  const auto flags = std::make_shared<FinetuneFlags>(*app);
  return {app, [flags] {
            flags->read();
            FinetuneTask task(flags->recipe, flags->encoder_file());
            if (flags->print_groups) return print_groups(task, flags->options.data);
            return train(task, flags->options);
          }};
}

}  // namespace tessera
