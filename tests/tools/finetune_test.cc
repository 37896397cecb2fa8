// `tessera finetune` as a user types it: what it says and saves, resumed to the same bytes, and
// mistakes named in one line.
#include <fmt/format.h>
#include <signal.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/tools/program.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kDepth = 3;

// A MAE of three blocks after three steps, made once.
const std::string& pretrained() {
  static const TempFolder folder;
  static const std::string path = folder.file("mae");
  static const Outcome outcome =
      run(tiny_pretrain(path, 3) + Words{"--depth", std::to_string(kDepth), "--mean", "cifar"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return path;
}

// Of 40 drawn pictures, ten of them held out; everything of the recipe is on by default.
Words finetune(const std::string& out, int max_steps) {
  return {"finetune",
          "--checkpoint",
          pretrained(),
          "--data",
          "builtin:40",
          "--holdout",
          "0.25",
          "--batch-size",
          "4",
          "--max-steps",
          std::to_string(max_steps),
          "--workers",
          "2",
          "--ema-decay",
          "0.9",
          "--out",
          out};
}

json recipe_of(const std::string& checkpoint) {
  return json::parse(SafetensorsReader(checkpoint).metadata().at("recipe"));
}

// A folder of pictures, one subfolder a class.
void add_pictures(const std::string& folder, const Words& classes) {
  const TempFolder made;
  REQUIRE(run({"reconstruct", "--checkpoint", pretrained(), "--data", "builtin:1", "--out",
               made.file("sheet.png")})
              .status == 0);
  for (const std::string& name : classes) {
    fs::create_directories(folder + "/" + name);
    for (int i = 0; i < 4; ++i) {
      fs::copy(made.file("sheet.png"), fmt::format("{}/{}/{}-{}.png", folder, name, name, i));
    }
  }
}

}  // namespace

TEST_CASE("a fine-tuning says how many it names rightly, and saves what its classes are called") {
  const TempFolder folder;
  const std::string path = folder.file("run");
  const Outcome outcome = run(finetune(path, 9) + Words{"--eval-every", "4"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.find("% right") != std::string::npos);
  CHECK(outcome.err.find("held-out pictures") != std::string::npos);
  const std::vector<json> metrics = metrics_of(path);
  REQUIRE(metrics.size() == 9);
  for (const json& record : metrics) {
    const int step = record["step"];
    CHECK(record.contains("eval_top1") == (step % 4 == 0 || step == 9));
    if (!record.contains("eval_top1")) continue;
    CHECK(record["eval_top1"] <= record["eval_top5"]);
    CHECK(record["eval_top5"] <= 100);
    CHECK(record["eval_loss"] > 0);
  }
  const json recipe = recipe_of(path + "/" + checkpoint_name(9));
  CHECK(recipe["task"] == "finetune");
  CHECK(recipe["classes"].size() == 10);
  CHECK(recipe["classes"][0].is_string());
  CHECK(recipe["dim"] == 16);
  CHECK(recipe["depth"] == kDepth);
  CHECK(recipe["image-height"] == 16);
  CHECK(recipe["mean"][0].get<float>() == 0.4914f);  // the encoder's
  CHECK(recipe["encoder"].get<std::string>().starts_with("pretrain-mae, step 3, recipe "));

  // A second fine-tuning, on larger pictures, from this one.
  const std::string second = folder.file("second");
  const Outcome again =
      run({"finetune", "--checkpoint", path, "--data", "builtin:40", "--image-size", "24x32",
           "--batch-size", "4", "--max-steps", "2", "--unfreeze-blocks", "1", "--out", second});
  INFO(again.err);
  REQUIRE(again.status == 0);
  CHECK(recipe_of(second + "/" + checkpoint_name(2))["encoder"].get<std::string>().starts_with(
      "finetune, step 9, recipe "));
}

TEST_CASE("stopped and resumed: the same bytes, though the encoder is gone") {
  constexpr int kSteps = 60;
  const TempFolder folder;
  const std::string straight = folder.file("straight"), stopped = folder.file("stopped"),
                    encoder = folder.file("encoder");
  fs::copy(pretrained(), encoder);
  const Words more = {"--eval-every", "20", "--checkpoint-every", "7",    "--unfreeze-blocks", "2",
                      "--accumulate", "2",  "--checkpoint",       encoder};
  REQUIRE(run(finetune(straight, kSteps) + more).status == 0);
  const std::string last = "/" + checkpoint_name(kSteps);
  // Killed before its first checkpoint, a run reads the encoder again and starts over.
  const std::string early = folder.file("early");
  fs::create_directory(early);
  fs::copy(straight + "/config.toml", early + "/config.toml");
  REQUIRE(run({"finetune", "--resume", "--out", early}).status == 0);
  CHECK(slurp(early + last) == slurp(straight + last));

  Process process(finetune(stopped, kSteps) + more + Words{"--threads", "1", "--workers", "0"});
  wait_until([&] { return lines_of(slurp(stopped + "/metrics.jsonl")).size() >= 10; });
  process.signal(SIGINT);
  const Outcome outcome = process.wait();
  INFO(outcome.err);
  REQUIRE(outcome.status == 130);
  CHECK(outcome.err.find("tessera finetune --resume --out " + stopped) != std::string::npos);
  fs::remove_all(encoder);
  const Outcome resumed = run({"finetune", "--resume", "--out", stopped, "--workers", "3"});
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(slurp(stopped + last) == slurp(straight + last));
  CHECK(metrics_of(stopped) == metrics_of(straight));

  const SafetensorsReader file(straight + last);
  CHECK(file.find("ema/head.weight") != nullptr);
  CHECK(file.find("ema/blocks.2.mlp.fc1.weight") != nullptr);
  CHECK(file.find("ema/blocks.0.mlp.fc1.weight") == nullptr);  // frozen
  CHECK(file.find("optimizer/exp_avg/blocks.0.mlp.fc1.weight") == nullptr);

  // Its own encoder may be named again, another not: it would not be looked at.
  const Words again = {"finetune", "--resume", "--out", stopped, "--checkpoint"};
  CHECK(run(again + Words{encoder + "/"}).status == 0);
  check_mistake(again + Words{pretrained()}, "--checkpoint " + pretrained());
  check_mistake({"finetune", "--resume", "--out", stopped, "--mixup", "0.5"}, "--mixup");
  check_mistake({"finetune", "--resume", "--out", stopped, "--unfreeze-blocks", "1"},
                "--unfreeze-blocks");
  check_mistake({"pretrain", "mae", "--resume", "--out", stopped}, "finetune");
}

TEST_CASE("the same from random weights, with or without an encoder to copy the shape of") {
  const TempFolder folder;
  const std::string copied = folder.file("copied"), named = folder.file("named");
  REQUIRE(run(finetune(copied, 1) + Words{"--from-scratch"}).status == 0);
  const json recipe = recipe_of(copied + "/" + checkpoint_name(1));
  CHECK(recipe["encoder"] == "");
  CHECK(recipe["depth"] == kDepth);
  const Outcome outcome =
      run({"finetune", "--from-scratch", "--arch", "vit_tiny", "--image-size", "16", "--data",
           "builtin:40", "--batch-size", "4", "--max-steps", "1", "--out", named});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(recipe_of(named + "/" + checkpoint_name(1))["dim"] == 192);
  CHECK(recipe_of(named + "/" + checkpoint_name(1))["patch-size"] == 4);
}

TEST_CASE("--print-groups lists layer, factor, decay and size of every group") {
  const Outcome outcome =
      run({"finetune", "--checkpoint", pretrained(), "--data", "builtin:", "--layer-decay", "0.5",
           "--weight-decay", "0.1", "--print-groups"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  const std::vector<std::string> lines = lines_of(outcome.out);
  REQUIRE(lines.size() == 1 + 2 * (kDepth + 2));
  int64_t parameters = 0;
  std::set<std::string> seen;
  for (size_t i = 1; i < lines.size(); ++i) {
    std::istringstream words(lines[i]);
    std::string layer_word, layer, decayed;
    double factor = 0, decay = 0;
    int64_t tensors = 0, size = 0;
    words >> layer_word >> layer >> decayed;
    const bool decays = decayed != "not";
    if (!decays) words >> decayed;
    words >> factor >> decay >> tensors >> size;
    INFO(lines[i]);
    REQUIRE(!words.fail());
    CHECK(seen.insert(layer + decayed + (decays ? "" : " not")).second);
    CHECK(factor == Approx(std::pow(0.5, kDepth + 1 - std::stoi(layer))).margin(1e-6));
    CHECK(decay == (decays ? 0.1 : 0));
    CHECK(tensors > 0);
    parameters += size;
  }
  // Class token, 17 positions, patches of 48 values, three blocks, norm, head of ten.
  constexpr int64_t kDim = 16;
  constexpr int64_t kBlock = 12 * kDim * kDim + 13 * kDim;
  CHECK(parameters == kDim + 17 * kDim + 49 * kDim + kDepth * kBlock + 2 * kDim + 10 * (kDim + 1));

  const Outcome frozen = run({"finetune", "--checkpoint", pretrained(), "--data",
                              "builtin:", "--unfreeze-blocks", "1", "--print-groups"});
  CHECK(lines_of(frozen.out).size() == 1 + 2 * 2 + 1);
  CHECK(lines_of(frozen.out).back().starts_with("frozen"));
}

TEST_CASE("mistakes of a fine-tuning are named in one line") {
  const TempFolder folder;
  const std::string out = folder.file("out"), flat = folder.file("flat"), one = folder.file("one"),
                    text = folder.file("text.safetensors");
  add_pictures(folder.file("classes"), {"cat", "dog"});
  add_pictures(one, {"cat"});
  fs::create_directory(flat);
  fs::copy(one + "/cat/cat-0.png", flat + "/a.png");
  spill(text, "no checkpoint");
  const Words start = {"finetune", "--checkpoint", pretrained(), "--max-steps", "2", "--batch-size",
                       "2",        "--out",        out,          "--data"};
  check_mistake(start + Words{flat}, "no classes");
  check_mistake(start + Words{one}, "only one class");
  const Words more = start + Words{folder.file("classes")};
  check_mistake(more + Words{"--unfreeze-blocks", "4"}, "--unfreeze-blocks 4");
  check_mistake(more + Words{"--layer-decay", "0"}, "--layer-decay");
  check_mistake(more + Words{"--label-smoothing", "1"}, "--label-smoothing");
  check_mistake(more + Words{"--mixup", "-1"}, "--mixup");
  check_mistake(more + Words{"--mixup", "inf"}, "--mixup");
  check_mistake(more + Words{"--cutmix", "1e-15"}, "--cutmix");
  check_mistake(more + Words{"--rand-augment", "11"}, "--rand-augment");
  check_mistake(more + Words{"--random-erasing", "2"}, "--random-erasing");
  check_mistake(more + Words{"--drop-path", "1"}, "drop path 1");
  check_mistake(more + Words{"--ema-decay", "1"}, "--ema-decay");
  check_mistake(more + Words{"--pooling", "max"}, "max");
  check_mistake(more + Words{"--image-size", "18"}, "18");
  check_mistake(more + Words{"--patch-size", "8"}, "--patch-size 8");
  check_mistake(more + Words{"--channels", "1", "--mean", "0.5", "--std", "0.5"}, "--channels 1");
  check_mistake(more + Words{"--arch", "vit_small"}, "--arch vit_small");
  check_mistake(more + Words{"--checkpoint", folder.file("none")}, "none");
  check_mistake(more + Words{"--checkpoint", text}, text, 1);
  check_mistake({"finetune", "--data", folder.file("classes"), "--out", out}, "--checkpoint");
  CHECK_FALSE(fs::exists(out));  // a refused start leaves nothing behind

  // Other classes than those of the head: a run goes on with its own alone.
  const std::string kept = folder.file("kept");
  REQUIRE(run(more + Words{"--out", kept}).status == 0);
  // Without --resume, a folder that holds a run changes nothing but where it cannot be written.
  check_mistake(more + Words{"--out", kept}, "already holds a run");
  check_mistake(more + Words{"--out", kept, "--dry-run", "--patch-size", "8"}, "--patch-size 8");
  const Words groups = more + Words{"--print-groups"};
  CHECK(run(groups + Words{"--out", kept}).out == run(groups).out);
  fs::rename(folder.file("classes") + "/dog", folder.file("classes") + "/wolf");
  check_mistake({"finetune", "--resume", "--out", kept, "--data", "builtin:40"}, "other pictures");
  REQUIRE(run(more + Words{"--out", kept + "-2"}).status == 0);
  fs::rename(folder.file("classes") + "/wolf", folder.file("classes") + "/dog");
  check_mistake({"finetune", "--resume", "--out", kept + "-2"}, "2 classes (cat, wolf)");
}

}  // namespace tessera
