// `tessera reconstruct`: what a model makes of pictures, as a picture.
#include <memory>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "tools/reconstruction_task.h"
#include "train/files/file_io.h"
#include "train/files/png_file.h"
#include "train/picture_batches.h"

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
  ReconstructionFlags task;
  std::string out;
  int64_t images = 8;
};

int run(const ReconstructFlags& flags) {
  TESSERA_CHECK_USAGE(!flags.out.empty(), "--out: name the PNG file to write");
  check_place_for_file("--out", flags.out);
  const ReconstructionTask task = prepare(flags.task);

  const Image sheet = reconstruction_sheet(*task.trained.model, task.reader,
                                           task.trained.normalisation(), task.mask_ratio, task.seed,
                                           spread_over(task.reader.size(), flags.images));
  write_png(flags.out, sheet);
  say_what_norm_pix_means(task.trained.config());
  fmt::print(
      "{}: from the left original, visible patches, reconstruction, reconstruction with the "
      "visible "
      "patches; {:g} % hidden, seed {}\n",
      flags.out, task.mask_ratio * 100, task.seed);
  return 0;
}

}  // namespace

Command add_reconstruct(CLI::App& root) {
  CLI::App* app = root.add_subcommand("reconstruct", "draw what a model completes");
  app->footer(kNotes);
  const auto flags = std::make_shared<ReconstructFlags>();
  flags->task.add_to(*app);
  app->add_option("--out", flags->out, "the PNG to write")->type_name("FILE");
  add_images(*app, &flags->images, "rows, spread over the set [default: 8]", 1000);
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
