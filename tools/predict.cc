// `tessera predict`: what a fine-tuned model takes pictures for.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "autograd/functions.h"
#include "data/open.h"
#include "engine/error.h"
#include "tools/classifier_task.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "train/picture_batches.h"
#include "train/probes/classification.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "One line a picture: its name and the likeliest classes with their probabilities in %. With\n"
    "--json one object a line, with the probability of every class.\n"
    "\n"
    "Examples:\n"
    "  tessera predict --checkpoint runs/classes --data cat.jpg\n"
    "  tessera predict --checkpoint runs/classes --data photos/ --top 1 --json > answers.jsonl";

struct PredictFlags {
  ClassifierFlags classifier;
  std::string data;
  int64_t images = -1, top = 3;
  bool json = false;
};

int run(const PredictFlags& flags) {
  TESSERA_CHECK_USAGE(!flags.data.empty(), "--data: name a picture or a folder");
  TESSERA_CHECK_USAGE(flags.top > 0, "--top {} must be positive", flags.top);
  const ClassifierTask task = prepare(flags.classifier);
  const std::vector<std::string>& names = task.classes();
  const EvaluationReader reader = task.reader(flags.data, 0);
  const Answers answers = task.answers(reader, spread_over(reader.size(), flags.images));
  const std::vector<float> values = softmax(answers.logits, 1).to_vector<float>();
  size_t width = 0;
  for (const int64_t picture : answers.pictures) {
    width = std::max(width, reader.name(picture).size());
  }
  for (size_t i = 0; i < answers.pictures.size(); ++i) {
    const auto row = std::span(values).subspan(i * names.size(), names.size());
    const std::string name = reader.name(answers.pictures[i]);
    const std::vector<int64_t> best = likeliest(row, flags.top);
    if (flags.json) {
      nlohmann::ordered_json line = {{"name", name},
                                     {"class", names[static_cast<size_t>(best[0])]},
                                     {"probabilities", nlohmann::ordered_json::object()}};
      for (size_t c = 0; c < names.size(); ++c) line["probabilities"][names[c]] = row[c];
      // A file's name may be any bytes; JSON is UTF-8.
      fmt::print("{}\n",
                 line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
      continue;
    }
    fmt::print("{:{}}", name, width);
    for (const int64_t c : best) {
      fmt::print("  {} {:.1f}", names[static_cast<size_t>(c)], row[static_cast<size_t>(c)] * 100);
    }
    fmt::print("\n");
  }
  return 0;
}

}  // namespace

Command add_predict(CLI::App& root) {
  CLI::App* app = root.add_subcommand("predict", "name the classes of pictures");
  app->footer(kNotes);
  const auto flags = std::make_shared<PredictFlags>();
  flags->classifier.add_to(*app);
  app->add_option("--data", flags->data, "a picture, a folder, CIFAR-10's batches or builtin:N")
      ->type_name("PATH");
  add_images(*app, &flags->images, "so many, spread over the set [default: all]");
  app->add_option("--top", flags->top, "classes shown of each picture [default: 3]")
      ->type_name("N");
  app->add_flag("--json", flags->json, "one line of JSON a picture, with every class");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
