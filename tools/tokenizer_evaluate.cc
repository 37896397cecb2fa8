// `tessera tokenizer evaluate`: what a tokenizer keeps of a picture, and how much of its codebook
// is in use.
#include <algorithm>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "tools/machine_flags.h"
#include "tools/trained_model.h"
#include "train/files/png_file.h"
#include "train/picture_batches.h"
#include "train/tokenizer_recipe.h"
#include "train/tokenizer_scores.h"
#include "train/work_progress.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "Every picture is turned into tokens and painted again. PSNR is 10 log10(1 / mean squared\n"
    "error), values in [0, 1], averaged over the pictures. Perplexity: as many tokens, all as\n"
    "frequent, would be as varied.\n"
    "\n"
    "Examples:\n"
    "  tessera tokenizer evaluate --checkpoint runs/tokenizer --data cifar/train --holdout 0.1\n"
    "  tessera tokenizer evaluate --checkpoint runs/tokenizer --data photos/ --out tokens.png";

struct EvaluateFlags {
  std::string checkpoint, data = "builtin:", out;
  double holdout = 0;
  int64_t images = -1;
  bool json = false;
  MachineFlags machine;
};

int run(const EvaluateFlags& flags) {
  constexpr int64_t kSheetPictures = 8;
  if (!flags.out.empty()) check_place_for_file("--out", flags.out);
  const Device device = flags.machine.apply();
  const TrainedTokenizer tokenizer =
      load_tokenizer(checkpoint_file("--checkpoint", flags.checkpoint));
  tokenizer.model->move_to(device);
  const EvaluationReader reader =
      evaluation_pictures(flags.data, flags.holdout, tokenizer.recipe.image_height,
                          tokenizer.recipe.image_width, tokenizer.recipe.channels);
  const std::vector<int64_t> pictures = spread_over(reader.size(), flags.images);
  const TokenizerScores scores = [&] {
    WorkProgress progress("pictures", std::ssize(pictures));
    return evaluate_tokenizer(*tokenizer.model, reader, pictures, std::ref(progress));
  }();
  const double used = scores.usage.used().item(), perplexity = scores.usage.perplexity().item();
  const int64_t vocab = scores.usage.vocab();
  const std::string warning = scores.usage.warning();
  if (!warning.empty()) fmt::print(stderr, "{}\n", warning);
  if (flags.json) {
    const nlohmann::ordered_json line = {
        {"images", scores.images},           {"psnr", scores.psnr},
        {"mae", scores.mean_absolute_error}, {"vocab", vocab},
        {"codes_used", int64_t(used)},       {"perplexity", perplexity},
        {"tokenizer", tokenizer.id}};
    fmt::print("{}\n", line.dump());
  } else {
    fmt::print(
        "{} pictures of {}: {:.2f} dB, mean absolute error {:.4f}\n"
        "{} of {} tokens in use ({:.1f} %), perplexity {:.1f}\n",
        scores.images, flags.data, scores.psnr, scores.mean_absolute_error, used, vocab,
        100 * used / double(vocab), perplexity);
  }
  if (!flags.out.empty()) {
    write_png(flags.out, tokenizer_sheet(*tokenizer.model, reader,
                                         spread_over(reader.size(), kSheetPictures)));
  }
  return 0;
}

}  // namespace

Command add_tokenizer_evaluate(CLI::App& tokenizer) {
  CLI::App* app = tokenizer.add_subcommand("evaluate", "what a tokenizer keeps of pictures");
  app->footer(kNotes);
  const auto flags = std::make_shared<EvaluateFlags>();
  app->add_option("--checkpoint", flags->checkpoint, "a checkpoint, or a run's folder: its newest")
      ->type_name("FILE|FOLDER");
  app->add_option("--data", flags->data, "as for training [default: builtin:]")->type_name("PATH");
  app->add_option("--holdout", flags->holdout, "as for training [default: 0]")->type_name("SHARE");
  add_images(*app, &flags->images, "so many, spread over the set [default: all]");
  app->add_option("--out", flags->out, "a PNG of eight pictures beside what their tokens keep")
      ->type_name("FILE");
  app->add_flag("--json", flags->json, "one line of JSON");
  flags->machine.add_to(*app);
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
