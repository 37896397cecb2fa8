// `tessera attention`: where a picture's class token looks.
#include "train/probes/attention.h"

#include <algorithm>
#include <memory>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/encoder_task.h"
#include "tools/flag_values.h"
#include "train/files/file_io.h"
#include "train/files/png_file.h"
#include "train/picture_batches.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "Each row of the PNG is one picture (with --all-blocks: one block of it). From the left: the\n"
    "picture; what its class token takes from every patch, the mean over the heads; attention\n"
    "rollout (Abnar and Zuidema, 2020), which follows that from the first block to this one "
    "through\n"
    "all tokens; every head by itself. Each map is drawn from its least value (dark) to its "
    "largest\n"
    "(yellow).\n"
    "\n"
    "Examples:\n"
    "  tessera attention --checkpoint runs/photos --data cat.jpg --out cat.png\n"
    "  tessera attention --checkpoint runs/photos --data photos/ --holdout 0.04 --images 6 \\\n"
    "    --block 8 --out looks.png";

struct AttentionFlags {
  EncoderFlags encoder;
  std::string data = "builtin:", out;
  double holdout = 0;
  int64_t images = 4, block = 0;
  bool all_blocks = false;
};

int run(const AttentionFlags& flags) {
  TESSERA_CHECK_USAGE(!flags.out.empty(), "--out: name the PNG file to write");
  check_place_for_file("--out", flags.out);
  const EncoderTask task = prepare(flags.encoder);
  const VitConfig& config = task.config();
  const std::vector<int64_t> blocks = task.blocks(flags.block, flags.all_blocks);
  const EvaluationReader reader = evaluation_pictures(
      flags.data, flags.holdout, config.image_height, config.image_width, config.channels);
  const Image sheet = attention_sheet(*task.trained.model, task.trained.normalisation, reader,
                                      spread_over(reader.size(), flags.images), blocks);
  write_png(flags.out, sheet);
  fmt::print("{}: from the left picture, mean of the heads, rollout, heads 1 to {}; block{} {}\n",
             flags.out, config.heads, blocks.size() > 1 ? "s" : "",
             blocks.size() > 1 ? fmt::format("1 to {}", config.depth)
                               : fmt::format("{} of {}", blocks[0], config.depth));
  return 0;
}

}  // namespace

Command add_attention(CLI::App& root) {
  CLI::App* app = root.add_subcommand("attention", "draw where the class token of pictures looks");
  app->footer(kNotes);
  const auto flags = std::make_shared<AttentionFlags>();
  flags->encoder.add_to(*app);
  app->add_option("--data", flags->data,
                  "a picture, a folder, CIFAR-10's batches, builtin: or builtin:N [default: "
                  "builtin:]")
      ->type_name("PATH");
  app->add_option("--holdout", flags->holdout,
                  "take only this share of each class, the last by name [default: 0, all]")
      ->type_name("SHARE");
  add_images(*app, &flags->images, "so many, spread over the set [default: 4]", 1000);
  app->add_option("--block", flags->block, "of this block [default: the last]")->type_name("N");
  app->add_flag("--all-blocks", flags->all_blocks, "of every block, one row each");
  app->add_option("--out", flags->out, "the PNG to write")->type_name("FILE");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
