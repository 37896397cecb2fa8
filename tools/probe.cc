// `tessera probe`: how much a frozen encoder knows of classes it was never told.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/open.h"
#include "engine/error.h"
#include "tools/command.h"
#include "tools/encoder_task.h"
#include "tools/flag_values.h"
#include "train/picture_batches.h"
#include "train/probes/classification.h"
#include "train/probes/linear_probe.h"
#include "train/probes/neighbours.h"
#include "train/probes/ridge.h"
#include "train/work_progress.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "The encoder stays as it is. A picture becomes its class token, the mean of its patches' "
    "tokens\n"
    "or both; on what comes out for the pictures with labels stand three probes:\n"
    "  ridge   least squares on the labels; its strength is chosen on a fifth of the pictures "
    "with\n"
    "          labels\n"
    "  knn     the nearest pictures vote, weighted by exp(cosine / temperature) (Wu et al., 2018)\n"
    "  linear  batch norm and a linear layer, trained with SGD or LARS and a cosine schedule\n"
    "The pictures judged are the held-out ones of --data, or those of --test-data. Whatever block "
    "is\n"
    "taken, its tokens come as they leave it; those of the last block go through the encoder's "
    "norm.\n"
    "\n"
    "Examples:\n"
    "  tessera probe --checkpoint runs/cifar --data cifar/train --holdout 0.04 --images 20000\n"
    "  tessera probe --checkpoint runs/cifar --data train/ --test-data test/ --probe linear \\\n"
    "    --all-blocks --pool both --json";

struct ProbeFlags {
  EncoderFlags encoder;
  std::string data = "builtin:", test_data;
  double holdout = 0;
  int64_t images = -1, test_images = -1;
  Texts probes = {"ridge", "knn", "linear"}, pools = {"class", "mean", "both"};
  int64_t block = 0;  // 0: the last
  bool all_blocks = false, json = false;
  NeighbourOptions neighbours;
  LinearProbeOptions linear;
  std::string optimizer = "sgd";
};

struct ProbeResult {
  int64_t block;
  std::string probe;
  Pool pool;
  Classification score;
  nlohmann::ordered_json more;  // what the probe found out besides
};

// The pictures that teach and those that judge, with one list of classes.
DataSplit labelled_pictures(const ProbeFlags& flags, const VitConfig& config) {
  const int height = static_cast<int>(config.image_height);
  const int width = static_cast<int>(config.image_width);
  DataSplit split = open_data(flags.data, flags.holdout, height, width);
  say_note(*split.train);
  check_has_classes(split.train->class_names(), "--data " + flags.data);
  if (!flags.test_data.empty()) {
    split.held_out = open_data(flags.test_data, 0, height, width).train;
    say_note(*split.held_out);
    TESSERA_CHECK_USAGE(split.held_out->class_names() == split.train->class_names(),
                        "--test-data {}: its classes are not those of --data: [{}], not [{}]",
                        flags.test_data, fmt::join(split.held_out->class_names(), ", "),
                        fmt::join(split.train->class_names(), ", "));
  }
  TESSERA_CHECK_USAGE(split.held_out->size() > 0,
                      "--data {}: nothing is held out to judge on; --holdout 0.1 keeps a tenth of "
                      "each class back, --test-data names other pictures",
                      flags.data);
  return split;
}

ProbeResult run_probe(const ProbeFlags& flags, const std::string& probe, int64_t block, Pool pool,
                      int64_t classes, const Features& train, const Features& test, int64_t place) {
  const Tensor examples = train.of(place, pool), queries = test.of(place, pool);
  ProbeResult result{block, probe, pool, {}, nlohmann::ordered_json::object()};
  Tensor scores;
  if (probe == "ridge") {
    const RidgeProbe ridge = ridge_probe(examples, train.labels, classes, queries);
    if (!(ridge.residual <= kRidgeResidual)) {
      fmt::print(stderr,
                 "note: block {}, {}: the ridge regression stopped at a residual of {:.0e}\n",
                 block, name_of(pool), ridge.residual);
    }
    result.more["lambda"] = ridge.lambda;
    scores = ridge.scores;
  } else if (probe == "knn") {
    scores = nearest_neighbours(examples, train.labels, classes, queries, flags.neighbours);
  } else {
    const LinearProbe linear = linear_probe(examples, train.labels, classes, queries, flags.linear);
    result.more["train_top1"] = linear.train_top1;
    scores = linear.scores;
  }
  result.score = classify(scores, test.labels);
  return result;
}

void print_table(const ProbeFlags& flags, const std::vector<ProbeResult>& results,
                 const Features& train, const Features& test, int64_t classes) {
  fmt::print("top 1 in %, {} pictures judged, {} with labels, {} classes\n\n", test.labels.size(),
             train.labels.size(), classes);
  fmt::print("block  probe ");
  for (const std::string& pool : flags.pools) fmt::print("  {:>6}", pool);
  for (size_t i = 0; i < results.size(); ++i) {
    const ProbeResult& result = results[i];
    if (i % flags.pools.size() == 0) fmt::print("\n{:5}  {:6}", result.block, result.probe);
    fmt::print("  {:6.2f}", result.score.top1 * 100);
  }
  fmt::print("\n");
}

void print_json(const std::vector<ProbeResult>& results, const Features& train,
                const Features& test, int64_t classes) {
  nlohmann::ordered_json line = {{"images", train.labels.size()},
                                 {"test_images", test.labels.size()},
                                 {"classes", classes},
                                 {"results", nlohmann::ordered_json::array()}};
  for (const ProbeResult& result : results) {
    nlohmann::ordered_json entry = {{"block", result.block},
                                    {"probe", result.probe},
                                    {"pool", name_of(result.pool)},
                                    {"top1", result.score.top1},
                                    {"top5", result.score.top5}};
    entry.update(result.more);
    line["results"].push_back(entry);
  }
  fmt::print("{}\n", line.dump());
}

int run(ProbeFlags flags) {
  flags.linear.lars = flags.optimizer == "lars";
  flags.linear.check();
  const EncoderTask task = prepare(flags.encoder);
  const std::vector<int64_t> blocks = task.blocks(flags.block, flags.all_blocks);
  const DataSplit split = labelled_pictures(flags, task.config());
  const int64_t classes = std::ssize(split.train->class_names());
  const auto teach = spread_over(split.train->size(), flags.images);
  const auto judge = spread_over(split.held_out->size(), flags.test_images);
  const auto asks_for = [&](const char* probe) {
    return std::find(flags.probes.begin(), flags.probes.end(), probe) != flags.probes.end();
  };
  if (asks_for("knn")) flags.neighbours.check(std::ssize(teach));

  const Features train = task.features(task.reader(split.train), {teach, blocks});
  const Features test = task.features(task.reader(split.held_out), {judge, blocks});
  std::vector<ProbeResult> results;
  {
    WorkProgress progress("probes",
                          std::ssize(blocks) * std::ssize(flags.probes) * std::ssize(flags.pools));
    for (size_t place = 0; place < blocks.size(); ++place) {
      for (const std::string& probe : flags.probes) {
        for (const std::string& pool : flags.pools) {
          results.push_back(run_probe(flags, probe, blocks[place], pool_from_name(pool), classes,
                                      train, test, static_cast<int64_t>(place)));
          progress(std::ssize(results));
        }
      }
    }
  }
  if (flags.json) {
    print_json(results, train, test, classes);
  } else {
    print_table(flags, results, train, test, classes);
  }
  return 0;
}

}  // namespace

Command add_probe(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("probe", "how well classes can be told by a frozen encoder's features");
  app->footer(kNotes);
  const auto flags = std::make_shared<ProbeFlags>();
  flags->encoder.add_to(*app);
  app->add_option("--data", flags->data,
                  "a folder with one subfolder a class, CIFAR-10's batches, builtin:N [default: "
                  "builtin:]")
      ->type_name("PATH");
  app->add_option("--holdout", flags->holdout,
                  "share of each class to judge on, the last by name [default: 0]")
      ->type_name("SHARE");
  app->add_option("--test-data", flags->test_data, "judge on these pictures instead")
      ->type_name("PATH");
  add_images(*app, &flags->images,
             "so many pictures with labels, spread over the set [default: all]");
  add_images(*app, &flags->test_images, "so many to judge on, spread over the set [default: all]",
             0, "--test-images");
  app->add_option("--probe", flags->probes, "ridge, knn, linear, one or more [default: all three]")
      ->check(CLI::IsMember({"ridge", "knn", "linear"}))
      ->delimiter(',')
      ->type_name("NAMES");
  app->add_option("--pool", flags->pools,
                  "what stands for a picture: class (token), mean (of its patches), both, one or "
                  "more [default: all three]")
      ->check(CLI::IsMember({"class", "mean", "both"}))
      ->delimiter(',')
      ->type_name("NAMES");
  app->add_option("--block", flags->block, "take the tokens that leave this block [default: last]")
      ->type_name("N");
  app->add_flag("--all-blocks", flags->all_blocks, "every block, one after another, in one table");
  app->add_flag("--json", flags->json, "one line of JSON, with top 5 as well");
  app->add_option("--knn-k", flags->neighbours.k, "neighbours that vote [default: 20]")
      ->type_name("K")
      ->group("Neighbours");
  app->add_option("--knn-temperature", flags->neighbours.temperature,
                  "of their weights [default: 0.07]")
      ->type_name("T")
      ->group("Neighbours");
  const auto linear_option = [&](const char* name, auto& value, const char* text) {
    return app->add_option(name, value, text)->group("Linear layer");
  };
  linear_option("--optimizer", flags->optimizer,
                "sgd or lars, both with momentum 0.9 [default: sgd]")
      ->check(CLI::IsMember({"lars", "sgd"}))
      ->type_name("NAME");
  linear_option("--epochs", flags->linear.epochs, "times through the pictures [default: 90]")
      ->type_name("N");
  linear_option("--batch-size", flags->linear.batch_size, "pictures a step [default: 256]")
      ->type_name("N");
  linear_option("--lr", flags->linear.lr,
                "learning rate at its peak [default: 0.03 for each 256 of a batch, lars 6.4]")
      ->check(CLI::PositiveNumber)
      ->type_name("LR");
  linear_option("--warmup-epochs", flags->linear.warmup_epochs,
                "epochs in which the rate rises [default: a ninth]")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  linear_option("--weight-decay", flags->linear.weight_decay, "of the layer's weights [default: 0]")
      ->type_name("D");
  linear_option("--seed", flags->linear.seed, "of first weights and order [default: 0]")
      ->check(not_negative())
      ->type_name("N");
  return {app, [flags] { return run(*flags); }};
}

}  // namespace tessera
