// Opens, checks against what was asked for, builds the model, loads the weights: in this order.
#include "tools/trained_model.h"

#include <filesystem>

#include "data/builtin.h"
#include "data/open.h"
#include "engine/error.h"
#include "models/presets.h"
#include "train/files/naming.h"
#include "train/pretrain_beit.h"
#include "train/run_folder.h"

namespace tessera {

std::string checkpoint_file(const std::string& flag, const std::string& given) {
  TESSERA_CHECK_USAGE(!given.empty(), "{}: name a checkpoint or a run's folder", flag);
  std::error_code ignored;
  if (!std::filesystem::is_directory(given, ignored)) return given;
  std::vector<std::string> broken;
  const auto newest = newest_whole_checkpoint(given, &broken);
  TESSERA_CHECK_USAGE(newest.has_value(), "{}: no whole checkpoint in {}{}", flag, given,
                      broken.empty() ? "" : ": " + broken.front());
  return newest->path;
}

std::string CheckpointFlags::path() const { return checkpoint_file("--checkpoint", checkpoint); }

void CheckpointFlags::add_to(CLI::App& app) {
  app.add_option("--checkpoint", checkpoint, "a checkpoint, or a run's folder: its newest")
      ->type_name("FILE|FOLDER");
  app.add_option("--arch", arch, "refuse a checkpoint of another architecture [default: take any]")
      ->type_name("NAME");
}

OpenedCheckpoint open_checkpoint(const CheckpointFlags& flags) {
  if (!flags.arch.empty()) mae_preset(flags.arch);  // names the mistake when there is none
  const std::string path = flags.path();
  OpenedCheckpoint opened{path, Checkpoint(path), {}};
  TESSERA_CHECK_USAGE(
      task_of(opened.file.recipe()) != BeitRecipe().task(),
      "{}: a BEiT guesses tokens and draws no pixels: prediction-*.png in its run's "
      "folder shows its guesses, the evaluations in metrics.jsonl and --probe-every "
      "judge it",
      path);
  read_recipe(opened.recipe, opened.file);
  naming(path, [&] { opened.recipe.check(); });
  TESSERA_CHECK_USAGE(flags.arch.empty() || flags.arch == opened.recipe.arch,
                      "--arch {}: {} holds a {}", flags.arch, path, opened.recipe.arch);
  return opened;
}

TrainedModel load_model(const CheckpointFlags& flags) {
  OpenedCheckpoint opened = open_checkpoint(flags);
  auto model = std::make_unique<Mae>(opened.recipe.model);
  model->load_state_dict(opened.file.weights());
  model->set_training(false);
  return {std::move(opened.path), std::move(opened.recipe), std::move(model)};
}

void say_note(const Dataset& pictures) {
  const std::string note = pictures.note();
  if (!note.empty()) fmt::print(stderr, "{}\n", note);
}

EvaluationReader evaluation_pictures(const std::string& spec, double holdout, int64_t height,
                                     int64_t width, int64_t channels) {
  const int h = static_cast<int>(height), w = static_cast<int>(width);
  const DataSplit split = open_data(spec, holdout, h, w);
  std::shared_ptr<const Dataset> pictures =
      split.held_out->size() > 0 ? split.held_out : split.train;
  if (spec.starts_with("builtin:") && holdout == 0 && !split.train->endless()) {
    pictures =
        std::make_shared<BuiltinDataset>(split.train->size(), false, PictureStream::kHeldOut, h, w);
  }
  say_note(*pictures);
  return EvaluationReader(pictures, h, w, static_cast<int>(channels));
}

void say_what_norm_pix_means(const MaeConfig& config) {
  if (!config.norm_pix_loss) return;
  fmt::print(stderr,
             "note: this model learnt with --norm-pix-loss and knows a patch only up to its mean "
             "and deviation; un-normalising needs each patch's true mean and deviation, and here "
             "they are taken from the original picture\n");
}

}  // namespace tessera
