// `tessera evaluate reconstruction`: a model beside the classical fills, in dB.
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "tools/machine_flags.h"
#include "tools/scores.h"
#include "tools/trained_model.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "PSNR is 10 log10(1 / mean squared error) over the hidden pixels of a picture, values in [0, "
    "1],\n"
    "averaged over the pictures; 1 dB more is a fifth less error. The fills see the same visible\n"
    "patches: mean, the average of them; nearest, the nearest visible pixel; bilinear, the "
    "nearest\n"
    "ones left, right, above and below; harmonic, each pixel the average of its neighbours.\n"
    "\n"
    "Examples:\n"
    "  tessera evaluate reconstruction --checkpoint runs/cifar --data cifar/train --holdout 0.04\n"
    "  tessera evaluate reconstruction --checkpoint runs/cifar --data builtin:500 --json";

struct EvaluateFlags {
  CheckpointFlags model;
  MachineFlags machine;
  std::string data = "builtin:";
  double holdout = 0, mask_ratio = -1;
  int64_t images = 0;
  uint64_t seed = 0;
  bool json = false;
};

// A large set takes minutes; a terminal sees how far it is.
void show_progress(int64_t done) {
  if (is_terminal(STDERR_FILENO)) fmt::print(stderr, "\r{} pictures", done);
}

int run(const EvaluateFlags& flags) {
  TESSERA_CHECK_USAGE(flags.images >= 0, "--images {} must not be negative", flags.images);
  flags.machine.apply();
  const TrainedModel trained = load_model(flags.model);
  const MaeConfig& config = trained.config();
  const EvaluationReader reader = evaluation_pictures(flags.data, flags.holdout, config);
  const double mask_ratio = flags.mask_ratio < 0 ? config.mask_ratio : flags.mask_ratio;
  const ReconstructionScores scores = evaluate_reconstruction(
      *trained.model, reader, trained.normalisation(), mask_ratio, flags.seed, true,
      flags.images > 0 ? flags.images : -1, show_progress);
  if (is_terminal(STDERR_FILENO)) fmt::print(stderr, "\r\x1b[K");
  say_what_norm_pix_means(config);
  if (flags.json) {
    const nlohmann::ordered_json line = {{"images", scores.images},
                                         {"mask_ratio", mask_ratio},
                                         {"seed", flags.seed},
                                         {"psnr",
                                          {{"model", scores.model},
                                           {"mean", scores.mean},
                                           {"nearest", scores.nearest},
                                           {"bilinear", scores.bilinear},
                                           {"harmonic", scores.harmonic}}}};
    fmt::print("{}\n", line.dump());
  } else {
    fmt::print("{} pictures of {}, {:g} % of the patches hidden, seed {}\n\n{}", scores.images,
               flags.data, mask_ratio * 100, flags.seed, table_of(scores));
  }
  return 0;
}

}  // namespace

Command add_evaluate_reconstruction(CLI::App& evaluate) {
  CLI::App* app =
      evaluate.add_subcommand("reconstruction", "how well a model completes pictures, in dB");
  app->footer(kNotes);
  const auto flags = std::make_shared<EvaluateFlags>();
  flags->model.add_to(*app);
  app->add_option("--data", flags->data,
                  "a picture, a folder, builtin: or builtin:N [default: builtin:]")
      ->type_name("PATH");
  app->add_option("--images", flags->images, "the first N pictures, 0: all [default: 0]")
      ->type_name("N");
  app->add_option("--holdout", flags->holdout,
                  "take only this share of each class, the last by name [default: 0, all]")
      ->type_name("SHARE");
  app->add_option("--mask-ratio", flags->mask_ratio,
                  "share of the patches that is hidden [default: the training's]")
      ->type_name("R");
  app->add_option("--seed", flags->seed, "of the masks [default: 0]")
      ->check(not_negative())
      ->type_name("N");
  app->add_flag("--json", flags->json, "one line of JSON instead of the table");
  flags->machine.add_to(*app);
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
