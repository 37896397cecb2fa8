// `tessera evaluate reconstruction`: a model beside the classical fills, in dB.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "tools/reconstruction_task.h"
#include "tools/scores.h"
#include "train/picture_batches.h"
#include "train/work_progress.h"

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
  ReconstructionFlags task;
  int64_t images = -1;
  bool json = false;
};

ReconstructionScores measure(const EvaluateFlags& flags, const ReconstructionTask& task) {
  const std::vector<int64_t> pictures = spread_over(task.reader.size(), flags.images);
  WorkProgress progress("pictures", std::ssize(pictures));  // a large set takes minutes
  return evaluate_reconstruction(*task.trained.model, task.reader, task.trained.normalisation(),
                                 task.mask_ratio, task.seed, true, pictures,
                                 [&](int64_t done) { progress(done); });
}

int run(const EvaluateFlags& flags) {
  const ReconstructionTask task = prepare(flags.task);
  const ReconstructionScores scores = measure(flags, task);
  say_what_norm_pix_means(task.trained.config());
  if (flags.json) {
    const nlohmann::ordered_json line = {{"images", scores.images},
                                         {"mask_ratio", task.mask_ratio},
                                         {"seed", task.seed},
                                         {"psnr",
                                          {{"model", scores.model},
                                           {"mean", scores.mean},
                                           {"nearest", scores.nearest},
                                           {"bilinear", scores.bilinear},
                                           {"harmonic", scores.harmonic}}}};
    fmt::print("{}\n", line.dump());
  } else {
    fmt::print("{} pictures of {}, {:g} % of the patches hidden, seed {}\n\n{}", scores.images,
               flags.task.data, task.mask_ratio * 100, task.seed, table_of(scores));
  }
  return 0;
}

}  // namespace

Command add_evaluate_reconstruction(CLI::App& evaluate) {
  CLI::App* app =
      evaluate.add_subcommand("reconstruction", "how well a model completes pictures, in dB");
  app->footer(kNotes);
  const auto flags = std::make_shared<EvaluateFlags>();
  flags->task.add_to(*app);
  add_images(*app, &flags->images, "so many, spread over the set [default: all]");
  app->add_flag("--json", flags->json, "one line of JSON instead of the table");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
