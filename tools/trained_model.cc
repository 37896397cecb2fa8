// Opens, checks against what was asked for, builds the model, loads the weights: in this order.
#include "tools/trained_model.h"

#include <filesystem>

#include "data/builtin.h"
#include "data/open.h"
#include "engine/error.h"
#include "models/presets.h"
#include "train/run_folder.h"

namespace tessera {
namespace {

std::string checkpoint_path(const std::string& given) {
  TESSERA_CHECK_USAGE(!given.empty(), "--checkpoint: name a checkpoint or a run's folder");
  std::error_code ignored;
  if (!std::filesystem::is_directory(given, ignored)) return given;
  std::vector<std::string> broken;
  const auto newest = newest_whole_checkpoint(given, &broken);
  TESSERA_CHECK_USAGE(newest.has_value(), "--checkpoint: no whole checkpoint in {}{}", given,
                      broken.empty() ? "" : ": " + broken.front());
  return newest->path;
}

}  // namespace

void CheckpointFlags::add_to(CLI::App& app) {
  app.add_option("--checkpoint", checkpoint, "a checkpoint, or a run's folder: its newest")
      ->type_name("FILE|FOLDER");
  app.add_option("--arch", arch, "refuse a checkpoint of another architecture [default: take any]")
      ->type_name("NAME");
}

OpenedCheckpoint open_checkpoint(const CheckpointFlags& flags) {
  if (!flags.arch.empty()) mae_preset(flags.arch);  // names the mistake when there is none
  const std::string path = checkpoint_path(flags.checkpoint);
  OpenedCheckpoint opened{path, Checkpoint(path), {}};
  read_recipe(opened.recipe, opened.file);
  try {
    opened.recipe.check();
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path, error.what()));
  }
  TESSERA_CHECK_USAGE(flags.arch.empty() || flags.arch == opened.recipe.arch,
                      "--arch {}: {} holds a {}", flags.arch, path, opened.recipe.arch);
  return opened;
}

TrainedModel load_model(const CheckpointFlags& flags) {
  OpenedCheckpoint opened = open_checkpoint(flags);
  auto model = std::make_unique<Mae>(opened.recipe.model);
  opened.file.load_model(*model);
  model->set_training(false);
  return {std::move(opened.path), std::move(opened.recipe), std::move(model)};
}

EvaluationReader evaluation_pictures(const std::string& spec, double holdout,
                                     const MaeConfig& config) {
  const int height = static_cast<int>(config.image_height);
  const int width = static_cast<int>(config.image_width);
  const DataSplit split = open_data(spec, holdout, height, width);
  std::shared_ptr<const Dataset> pictures =
      split.held_out->size() > 0 ? split.held_out : split.train;
  if (spec.starts_with("builtin:") && holdout == 0 && !split.train->endless()) {
    pictures = std::make_shared<BuiltinDataset>(split.train->size(), false, PictureStream::kHeldOut,
                                                height, width);
  }
  return EvaluationReader(pictures, height, width, static_cast<int>(config.channels));
}

void say_what_norm_pix_means(const MaeConfig& config) {
  if (!config.norm_pix_loss) return;
  fmt::print(stderr,
             "note: this model learnt with --norm-pix-loss and knows a patch only up to its mean "
             "and deviation; un-normalising needs each patch's true mean and deviation, and here "
             "they are taken from the original picture\n");
}

}  // namespace tessera
