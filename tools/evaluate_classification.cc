// `tessera evaluate classification`: how often a fine-tuned model is right, class by class.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/classifier_task.h"
#include "tools/command.h"
#include "tools/flag_values.h"
#include "train/files/file_io.h"
#include "train/files/png_file.h"
#include "train/picture_batches.h"
#include "train/probes/classification.h"
#include "train/probes/confusion_sheet.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "Top 1 and top 5: of the pictures, the share whose class is the model's first answer, or "
    "among\n"
    "its first five. Recall: of a class's pictures, those taken for it. Precision: of those taken\n"
    "for it, the ones that are. The PNG shows who is taken for whom: a row for each class, shaded\n"
    "by the share of its pictures.\n"
    "\n"
    "Examples:\n"
    "  tessera evaluate classification --checkpoint runs/classes --data cifar/train --holdout "
    "0.04\n"
    "  tessera evaluate classification --checkpoint runs/classes --data test/ \\\n"
    "    --confusion confusion.png";

struct Flags {
  ClassifierFlags classifier;
  std::string data = "builtin:", confusion;
  double holdout = 0;
  int64_t images = -1;
  bool json = false;
};

void print_table(const Classification& result, const std::vector<std::string>& names) {
  fmt::print("{} pictures, {} classes: top 1 {:.2f} %, top 5 {:.2f} %\n\n", result.pictures,
             result.classes, result.top1 * 100, result.top5 * 100);
  size_t width = 5;
  for (const std::string& name : names) width = std::max(width, name.size());
  fmt::print("{:{}}  pictures  recall  precision\n", "class", width);
  const std::vector<ClassScores> scores = result.by_class();
  for (size_t c = 0; c < names.size(); ++c) {
    fmt::print("{:{}}  {:8}  {:6.2f}  {:9.2f}\n", names[c], width, scores[c].pictures,
               scores[c].recall * 100, scores[c].precision * 100);
  }
}

void print_json(const Classification& result, const std::vector<std::string>& names) {
  nlohmann::ordered_json line = {{"images", result.pictures},
                                 {"top1", result.top1},
                                 {"top5", result.top5},
                                 {"classes", nlohmann::ordered_json::array()},
                                 {"confusion", nlohmann::ordered_json::array()}};
  const std::vector<ClassScores> scores = result.by_class();
  for (int64_t c = 0; c < result.classes; ++c) {
    const ClassScores& score = scores[static_cast<size_t>(c)];
    line["classes"].push_back({{"name", names[static_cast<size_t>(c)]},
                               {"images", score.pictures},
                               {"recall", score.recall},
                               {"precision", score.precision}});
    const auto row = result.confusion.begin() + c * result.classes;
    line["confusion"].push_back(std::vector<int64_t>(row, row + result.classes));
  }
  fmt::print("{}\n", line.dump());
}

int run(const Flags& flags) {
  if (!flags.confusion.empty()) check_place_for_file("--confusion", flags.confusion);
  const ClassifierTask task = prepare(flags.classifier);
  const std::vector<std::string>& names = task.classes();
  const EvaluationReader reader = task.reader(flags.data, flags.holdout);
  check_has_classes(reader.class_names(), "--data " + flags.data);
  task.check_classes(reader.class_names(), flags.data);
  const double held_out = task.trained.recipe.holdout;
  if (held_out > 0 && flags.holdout == 0) {
    fmt::print(stderr,
               "note: if these are the run's own pictures, it learned from most of them; "
               "--holdout {:g} judges the others alone\n",
               held_out);
  }
  const Answers answers = task.answers(reader, spread_over(reader.size(), flags.images));
  const Classification result = classify(answers.logits, answers.labels);
  flags.json ? print_json(result, names) : print_table(result, names);
  if (!flags.confusion.empty()) write_png(flags.confusion, confusion_sheet(result, names));
  return 0;
}

}  // namespace

Command add_evaluate_classification(CLI::App& evaluate) {
  CLI::App* app =
      evaluate.add_subcommand("classification", "how often a fine-tuned model is right");
  app->footer(kNotes);
  const auto flags = std::make_shared<Flags>();
  flags->classifier.add_to(*app);
  app->add_option("--data", flags->data,
                  "a folder with one subfolder a class, CIFAR-10's batches, builtin:N [default: "
                  "builtin:]")
      ->type_name("PATH");
  app->add_option("--holdout", flags->holdout,
                  "take only this share of each class, the last by name [default: 0, all]")
      ->type_name("SHARE");
  add_images(*app, &flags->images, "so many, spread over the set [default: all]");
  app->add_option("--confusion", flags->confusion, "write the confusion matrix as a PNG")
      ->type_name("FILE");
  app->add_flag("--json", flags->json, "one line of JSON instead of the table");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
