// `tessera reconstruct`: what a model makes of pictures, as a picture.
#include <algorithm>
#include <memory>

#include "data/encode.h"
#include "engine/error.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "tools/machine_flags.h"
#include "tools/trained_model.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "Each row of the PNG is one picture; from the left: original, visible patches, "
    "reconstruction,\n"
    "reconstruction with the visible patches pasted over it. A picture of another size is resized\n"
    "and its middle taken, as in the training's evaluations.\n"
    "\n"
    "Examples:\n"
    "  tessera reconstruct --checkpoint runs/photos --data cat.jpg --out cat.png\n"
    "  tessera reconstruct --checkpoint runs/photos --data photos/ --holdout 0.04 --images 12 \\\n"
    "    --mask-ratio 0.5 --out half.png";

struct ReconstructFlags {
  CheckpointFlags model;
  MachineFlags machine;
  std::string data = "builtin:", out;
  double holdout = 0, mask_ratio = -1;
  int64_t images = 8;
  uint64_t seed = 0;
};

int run(const ReconstructFlags& flags) {
  TESSERA_CHECK_USAGE(!flags.out.empty(), "--out: name the PNG file to write");
  TESSERA_CHECK_USAGE(flags.images > 0 && flags.images <= 1000, "--images {} is not in 1..1000",
                      flags.images);
  flags.machine.apply();
  const TrainedModel trained = load_model(flags.model);
  const MaeConfig& config = trained.config();
  const EvaluationReader reader = evaluation_pictures(flags.data, flags.holdout, config);

  // Spread over the set, which may be sorted by class.
  const int64_t rows = std::min(flags.images, reader.size());
  std::vector<int64_t> pictures;
  for (int64_t i = 0; i < rows; ++i) pictures.push_back(i * reader.size() / rows);

  const double mask_ratio = flags.mask_ratio < 0 ? config.mask_ratio : flags.mask_ratio;
  const Image sheet = reconstruction_sheet(*trained.model, reader, trained.normalisation(),
                                           mask_ratio, flags.seed, pictures);
  write_png(flags.out, sheet);
  say_what_norm_pix_means(config);
  fmt::print(
      "{}: from the left original, visible patches, reconstruction, reconstruction with the "
      "visible "
      "patches; {:g} % hidden, seed {}\n",
      flags.out, mask_ratio * 100, flags.seed);
  return 0;
}

}  // namespace

Command add_reconstruct(CLI::App& root) {
  CLI::App* app = root.add_subcommand("reconstruct", "draw what a model completes");
  app->footer(kNotes);
  const auto flags = std::make_shared<ReconstructFlags>();
  flags->model.add_to(*app);
  app->add_option("--data", flags->data,
                  "a picture, a folder, builtin: or builtin:N [default: builtin:]")
      ->type_name("PATH");
  app->add_option("--out", flags->out, "the PNG to write")->type_name("FILE");
  app->add_option("--images", flags->images, "rows, spread over the set [default: 8]")
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
  flags->machine.add_to(*app);
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
