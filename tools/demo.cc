// `tessera demo`: trains a small masked autoencoder on the built-in pictures in a few minutes,
// writes what it completes and says how it compares, whoever wins.
#include <filesystem>
#include <memory>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/machine_flags.h"
#include "tools/mae_flags.h"
#include "tools/scores.h"
#include "tools/trained_model.h"
#include "train/files/png_file.h"
#include "train/picture_batches.h"
#include "train/run_folder.h"

namespace tessera {
namespace {

// All that the demo is made of. The steps are as many as two cores do in five minutes.
constexpr char kMinutes[] = "about five minutes on two cores";
constexpr int64_t kScoredPictures = 500;  // held out
constexpr int64_t kSheetPictures = 8;

MaeRecipe demo_recipe() {
  MaeRecipe recipe;
  recipe.arch = "vit_tiny";
  recipe.model = {.image_height = 32,
                  .image_width = 32,
                  .patch = 4,
                  .dim = 128,
                  .depth = 4,
                  .heads = 4,
                  .decoder_dim = 128,
                  .decoder_depth = 3,
                  .decoder_heads = 4};
  recipe.augment = Augment::kNone;  // the stream of pictures never ends
  recipe.mean = {0.5f, 0.5f, 0.5f};
  recipe.std = {0.25f, 0.25f, 0.25f};
  recipe.max_steps = 2000;
  recipe.batch_size = 64;
  recipe.base_lr = 6e-3;
  recipe.clip_grad = 1;
  recipe.eval_every = 500;
  return recipe;
}

constexpr char kNotes[] =
    "The run is in runs/demo (or runs/demo-2, ...: a complete run is never touched). Ctrl-C "
    "saves;\n"
    "the same command goes on from there.";

struct DemoFlags {
  MachineFlags machine;
};

// runs/demo, runs/demo-2, ...: the first that is free or holds an interrupted run of this recipe.
std::string choose_folder(const MaeRecipe& recipe, bool* resume) {
  for (int i = 1;; ++i) {
    const std::string folder = i == 1 ? "runs/demo" : fmt::format("runs/demo-{}", i);
    *resume = std::filesystem::exists(folder);
    if (!*resume || list_checkpoints(folder).empty()) return folder;
    const auto newest = newest_whole_checkpoint(folder);
    if (!newest || newest->step >= recipe.max_steps) continue;
    MaeRecipe before;
    read_recipe_of_run(before, folder);
    before.data_id = recipe.data_id;  // the run fills it in
    if (to_json(before) == to_json(recipe)) return folder;
  }
}

// The last word: figures and the file to look at.
void show(const std::string& folder, Device device) {
  const TrainedModel trained = load_model({folder, ""});
  trained.model->move_to(device);
  const MaeConfig& config = trained.config();
  const EvaluationReader reader =
      evaluation_pictures("builtin:", 0, config.image_height, config.image_width, config.channels);
  const ReconstructionScores scores =
      evaluate_reconstruction(*trained.model, reader, trained.normalisation(), config.mask_ratio, 0,
                              true, spread_over(kScoredPictures, -1));
  const std::string picture = folder + "/reconstruction.png";
  write_png(picture, reconstruction_sheet(*trained.model, reader, trained.normalisation(),
                                          config.mask_ratio, 0, spread_over(kSheetPictures, -1)));
  fmt::print(
      "\n{} pictures that the model has never seen, {:g} % of their patches hidden\n{}\n"
      "Look at {}: from the left original, visible patches, reconstruction, and the "
      "reconstruction\n"
      "with the visible patches pasted over it.\n",
      scores.images, config.mask_ratio * 100, table_of(scores), picture);
}

int run(const DemoFlags& flags) {
  const Device device = flags.machine.apply();
  CLI::App unused;
  MaeFlags training(unused);  // for its config.toml
  training.recipe = demo_recipe();
  training.machine = flags.machine;
  RunOptions& options = training.options;
  options.device = device;
  options.checkpoint_every = training.recipe.eval_every;
  options.out = choose_folder(training.recipe, &options.resume);
  options.config_text = training.config_text();
  fmt::print(stderr, "{} a small masked autoencoder on drawn pictures in {}: {}\n",
             options.resume ? "going on training" : "training", options.out, kMinutes);
  MaeTask task(training.recipe);
  const int status = train(task, options);
  if (status != 0) {
    fmt::print(stderr, "or type the same command again: the demo goes on from there\n");
    return status;
  }
  show(options.out, device);
  return 0;
}

}  // namespace

Command add_demo(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("demo", fmt::format("train on drawn pictures, {}, and look", kMinutes));
  app->footer(kNotes);
  const auto flags = std::make_shared<DemoFlags>();
  flags->machine.add_to(*app);
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
