// What the commands print and write when all goes well.
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "data/decode.h"
#include "models/mae.h"
#include "models/presets.h"
#include "tests/tools/program.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

// A finished tiny run of 3 steps, made once.
const std::string& trained() {
  static const TempFolder folder;
  static const std::string path = folder.file("run");
  static const Outcome outcome = run(tiny_pretrain(path, 3) + Words{"--eval-every", "2"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return path;
}

std::string last_checkpoint(const std::string& run_folder) {
  return slurp(run_folder + "/step-00000003.safetensors");
}

}  // namespace

TEST_CASE("a run's folder holds what it should") {
  const TempFolder folder;
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(trained())) {
    std::string name = entry.path().filename().string();
    names.insert(name.starts_with("events.") ? "events" : name);
  }
  CHECK(names == std::set<std::string>{".lock", "config.toml", "curves.svg", "events",
                                       "metrics.jsonl", "reconstruction-00000002.png",
                                       "reconstruction-00000003.png", "step-00000003.safetensors"});
  std::vector<int> steps;
  for (const std::string& line : lines_of(slurp(trained() + "/metrics.jsonl"))) {
    const json record = json::parse(line);
    steps.push_back(record["step"]);
    CHECK(record.contains("loss"));
    CHECK(record.contains("eval_psnr") == (record["step"] >= 2));
  }
  CHECK(steps == std::vector<int>{1, 2, 3});  // each once
}

TEST_CASE("config.toml makes the same run again, whatever the path of the pictures") {
  const TempFolder folder;
  const std::string pictures = folder.file("a #1 folder, 'odd'");
  fs::create_directory(pictures);
  for (const char* name : {"a.png", "b.png", "c.png", "d.png"}) {
    fs::copy(trained() + "/reconstruction-00000002.png", pictures + "/" + name);
  }
  const std::string first = folder.file("first"), second = folder.file("second");
  const Outcome outcome =
      run(tiny_pretrain(first, 3) +
          Words{"--data", pictures, "--norm-pix-loss", "--warmup-steps", "1", "--std", "0.3"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);  // the last --data counts
  const Outcome again =
      run({"pretrain", "mae", "--config", first + "/config.toml", "--out", second});
  INFO(again.err);
  REQUIRE(again.status == 0);
  CHECK(last_checkpoint(first) == last_checkpoint(second));
  CHECK(slurp(first + "/config.toml") == slurp(second + "/config.toml"));

  const std::string third = folder.file("third");
  REQUIRE(
      run({"pretrain", "mae", "--config", first + "/config.toml", "--seed", "9", "--out", third})
          .status == 0);
  CHECK(last_checkpoint(first) != last_checkpoint(third));  // typed flags win
}

TEST_CASE("a config file with an unknown name or a wrong value is refused") {
  const TempFolder folder;
  for (const auto& [text, named] :
       std::vector<std::pair<std::string, std::string>>{{"learning-rate = 3\n", "learning-rate"},
                                                        {"batch-size = \"many\"\n", "batch-size"},
                                                        {"[model]\ndepth = 2\n", "model"}}) {
    spill(folder.file("c.toml"), text);
    const Outcome outcome =
        run({"pretrain", "mae", "--config", folder.file("c.toml"), "--out", folder.file("out")});
    INFO(outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.err.find(named) != std::string::npos);
    CHECK(outcome.err.find("c.toml") != std::string::npos);
  }
}

TEST_CASE("--dry-run says what it would take and writes nothing") {
  const TempFolder folder;
  const Outcome outcome = run(tiny_pretrain(folder.file("out"), 500) + Words{"--dry-run"});
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  for (const char* word : {"parameters", "memory", "500 steps", "left"}) {
    CHECK(outcome.err.find(word) != std::string::npos);
  }
  CHECK(outcome.out.empty());
  CHECK(folder.names().empty());
}

TEST_CASE("--profile leaves where the time of some steps went, for people and for a viewer") {
  const TempFolder folder;
  const std::string path = folder.file("run");
  const Outcome outcome = run(tiny_pretrain(path, 4) + Words{"--profile", "2"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  std::set<std::string> rows;
  for (const std::string& line : lines_of(slurp(path + "/profile.txt"))) {
    rows.insert(line.substr(0, line.find("  ")));
  }
  std::map<std::string, int> runs;
  const json trace = json::parse(slurp(path + "/profile.json"));
  for (const json& event : trace.at("traceEvents")) {
    const std::string name = event.at("name");
    ++runs[name];
    if (name == "linear") CHECK(event.at("args").at("flop") > 0);
  }
  for (const char* name : {"linear", "linear backward", "attention", "adamw"}) {
    INFO(name);
    CHECK(rows.contains(name));
    CHECK(runs[name] > 0);
  }
  CHECK(runs["adamw"] == 2);  // one a step, of as many steps as were asked for
}

TEST_CASE("--log-json: stdout is one record a line and nothing else") {
  const TempFolder folder;
  const Outcome outcome = run(tiny_pretrain(folder.file("out"), 30) + Words{"--log-json"});
  REQUIRE(outcome.status == 0);
  std::vector<int> steps;
  for (const std::string& line : lines_of(outcome.out)) {
    const json record = json::parse(line);
    steps.push_back(record["step"]);
    CHECK(record["loss"].is_number());
  }
  REQUIRE(steps.size() == 30);
  for (int i = 0; i < 30; ++i) CHECK(steps[i] == i + 1);
  CHECK(outcome.out == slurp(folder.file("out/metrics.jsonl")));
}

TEST_CASE("messages of a run go to stderr and are quiet without a terminal") {
  const TempFolder folder;
  const Outcome outcome = run(tiny_pretrain(folder.file("out"), 200));
  REQUIRE(outcome.status == 0);
  CHECK(outcome.out.empty());
  CHECK(outcome.error_lines() < 10);
  CHECK(outcome.err.find('\r') == std::string::npos);
}

TEST_CASE("evaluate reconstruction --json prints the one line") {
  const Outcome outcome = run({"evaluate", "reconstruction", "--checkpoint", trained(), "--data",
                               "builtin:5", "--mask-ratio", "0.5", "--seed", "4", "--json"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.empty());
  REQUIRE(lines_of(outcome.out).size() == 1);
  const ordered_json line = ordered_json::parse(outcome.out);
  std::vector<std::string> keys, scores;
  for (const auto& [key, value] : line.items()) keys.push_back(key);
  for (const auto& [key, value] : line["psnr"].items()) {
    scores.push_back(key);
    CHECK(value.get<double>() > 0);
    CHECK(value.get<double>() <= 100);
  }
  CHECK(keys == std::vector<std::string>{"images", "mask_ratio", "seed", "psnr"});
  CHECK(scores == std::vector<std::string>{"model", "mean", "nearest", "bilinear", "harmonic"});
  CHECK(line["images"] == 5);
  CHECK(line["mask_ratio"] == 0.5);
  CHECK(line["seed"] == 4);
  CHECK(outcome.out == line.dump() + "\n");

  const Words same = {
      "evaluate", "reconstruction", "--checkpoint", trained() + "/step-00000003.safetensors",
      "--data",   "builtin:5",      "--mask-ratio", "0.5",
      "--json"};
  CHECK(run(same + Words{"--seed", "4", "--threads", "1"}).out == outcome.out);
  CHECK(run(same + Words{"--seed", "5"}).out != outcome.out);
}

TEST_CASE("evaluate reconstruction for people names the model and every fill") {
  const Outcome outcome =
      run({"evaluate", "reconstruction", "--checkpoint", trained(), "--data", "builtin:3"});
  REQUIRE(outcome.status == 0);
  for (const char* word :
       {"3 pictures", "75 %", "model", "mean", "nearest", "bilinear", "harmonic"}) {
    CHECK(outcome.out.find(word) != std::string::npos);
  }
}

TEST_CASE("a norm-pix model: what is borrowed from the answer is said") {
  const TempFolder folder;
  REQUIRE(run(tiny_pretrain(folder.file("run"), 1) + Words{"--norm-pix-loss"}).status == 0);
  const Outcome outcome = run({"evaluate", "reconstruction", "--checkpoint", folder.file("run"),
                               "--data", "builtin:3", "--json"});
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.find("true mean and deviation") != std::string::npos);
  CHECK(json::parse(outcome.out)["images"] == 3);
}

TEST_CASE("reconstruct draws rows of four pictures") {
  const TempFolder folder;
  const std::string png = folder.file("sheet.png");
  REQUIRE(run({"reconstruct", "--checkpoint", trained(), "--images", "3", "--out", png}).status ==
          0);
  const Image sheet = read_image(png);
  // 16 x 16 is magnified tenfold; margins of four.
  CHECK(sheet.width == 4 * 164 + 4);
  CHECK(sheet.height == 3 * 164 + 4);
  // Three quarters of the second column are one grey; the first column has no such patch.
  const auto grey_share = [&](int left) {
    int grey = 0;
    for (int y = 4; y < 164; ++y) {
      for (int x = left; x < left + 160; ++x)
        grey += sheet.at(y, x, 0) == 128 && sheet.at(y, x, 1) == 128 && sheet.at(y, x, 2) == 128;
    }
    return grey / (160.0 * 160.0);
  };
  CHECK(grey_share(168) == Approx(0.75).margin(0.02));
  CHECK(grey_share(4) < 0.05);
  // Visible patches of the last column are the original's.
  for (int y = 4; y < 164; ++y) {
    for (int x = 0; x < 160; ++x) {
      if (sheet.at(y, 168 + x, 0) == 128) continue;
      REQUIRE(sheet.at(y, 496 + x, 0) == sheet.at(y, 4 + x, 0));
    }
  }

  // One picture of another size, and grey.
  const std::string one = folder.file("one.png");
  REQUIRE(run({"reconstruct", "--checkpoint", trained(), "--data", png, "--out", one}).status == 0);
  CHECK(read_image(one).height == 164 + 4);
}

TEST_CASE("export writes the official names, and the encoder's alone when asked") {
  const TempFolder folder;
  MaeConfig config = mae_preset("vit_tiny");
  config.image_height = config.image_width = 16;
  config.patch = 4;
  config.dim = config.decoder_dim = 16;
  config.depth = config.decoder_depth = 1;
  config.heads = config.decoder_heads = 2;
  const Mae model(config);
  std::set<std::string> all, encoder;
  for (const NamedTensor& entry : model.state_dict()) {
    all.insert(entry.name);
    const bool decodes = entry.name.starts_with("decoder_") || entry.name == "mask_token";
    if (!decodes) encoder.insert(entry.name);
  }
  REQUIRE(encoder.size() < all.size());

  const SafetensorsReader checkpoint(trained() + "/step-00000003.safetensors");
  const auto check_export = [&](const Words& more, const std::set<std::string>& wanted) {
    const std::string path = folder.file("w.safetensors");
    REQUIRE(run(Words{"export", "--checkpoint", trained(), "--out", path} + more).status == 0);
    const SafetensorsReader weights(path);
    std::set<std::string> names;
    for (const SafetensorsEntry& entry : weights.entries()) {
      names.insert(entry.name);
      std::vector<std::byte> here(entry.bytes), there(entry.bytes);
      weights.read(entry, here);
      checkpoint.read(checkpoint.at(entry.name), there);
      CHECK(here == there);
    }
    CHECK(names == wanted);
  };
  check_export({}, all);
  check_export({"--encoder-only"}, encoder);
}

TEST_CASE("averaged weights are what a MAE is judged, drawn and exported with") {
  const TempFolder folder;
  const std::string path = folder.file("run"), out = folder.file("w.safetensors");
  const Words pictures = {"--data", "builtin:20", "--holdout", "0.5"};
  REQUIRE(run(tiny_pretrain(path, 3) + pictures +
              Words{"--base-lr", "0.1", "--ema-decay", "0.5", "--eval-every", "3"})
              .status == 0);
  const json record = json::parse(lines_of(slurp(path + "/metrics.jsonl")).back());
  const Words model = {"--checkpoint", path};
  const Outcome scores = run(Words{"evaluate", "reconstruction", "--json"} + model + pictures);
  INFO(scores.err);
  REQUIRE(scores.status == 0);
  CHECK(json::parse(scores.out)["psnr"]["model"] == record["eval_psnr"]);

  REQUIRE(run(Words{"export", "--out", out} + model).status == 0);
  const SafetensorsReader weights(out), checkpoint(path + "/step-00000003.safetensors");
  int averaged = 0;
  for (const SafetensorsEntry& entry : weights.entries()) {
    const SafetensorsEntry* average = checkpoint.find("ema/" + entry.name);
    if (average == nullptr) continue;  // fixed positions
    ++averaged;
    std::vector<std::byte> here(entry.bytes), there(entry.bytes);
    weights.read(entry, here);
    checkpoint.read(*average, there);
    CHECK(here == there);
  }
  CHECK(averaged > 20);
}

TEST_CASE("info describes the program, and a checkpoint") {
  const Outcome machine = run({"info"});
  CHECK(machine.status == 0);
  CHECK(machine.err.empty());
  for (const char* word : {"tessera", "compiler", "features", "threads", "cpu", "memory"}) {
    CHECK(machine.out.find(word) != std::string::npos);
  }
  const Outcome file = run({"info", "--checkpoint", trained()});
  CHECK(file.status == 0);
  for (const char* word : {"vit_tiny", "16x16", "3 of 3", "step-00000003"}) {
    CHECK(file.out.find(word) != std::string::npos);
  }
}

TEST_CASE("--version and --help") {
  const Outcome version = run({"--version"});
  CHECK(version.status == 0);
  CHECK(version.out.starts_with("tessera 0."));
  CHECK(lines_of(version.out).size() == 1);
  for (const Words& command : {Words{},
                               Words{"demo"},
                               Words{"pretrain"},
                               Words{"pretrain", "mae"},
                               Words{"reconstruct"},
                               Words{"evaluate", "reconstruction"},
                               Words{"evaluate", "classification"},
                               Words{"probe"},
                               Words{"features"},
                               Words{"attention"},
                               Words{"predict"},
                               Words{"info"},
                               Words{"export"},
                               Words{"bench"},
                               Words{"bench", "step"},
                               Words{"bench", "data"},
                               Words{"bench", "gemm"},
                               Words{"bench", "ops"},
                               Words{"pretrain", "beit"},
                               Words{"tokenizer"},
                               Words{"tokenizer", "train"},
                               Words{"tokenizer", "evaluate"}}) {
    const Outcome help = run(command + Words{"--help"});
    CHECK(help.status == 0);
    CHECK(help.err.empty());
    CHECK(help.out.find("--help") != std::string::npos);
  }
  // Every flag has a description.
  for (const Words& command : {Words{"pretrain", "mae"}, Words{"pretrain", "beit"},
                               Words{"tokenizer", "train"}, Words{"tokenizer", "evaluate"}}) {
    const std::vector<std::string> lines = lines_of(run(command + Words{"--help"}).out);
    for (size_t i = 0; i < lines.size(); ++i) {
      if (!lines[i].starts_with("  --") || lines[i].find("tessera") != lines[i].npos) continue;
      INFO(lines[i]);
      // Beside the name, or below one that leaves no room.
      const bool below = i + 1 < lines.size() && lines[i + 1].starts_with(std::string(28, ' '));
      CHECK((lines[i].size() > 34 || below));
    }
  }
}

}  // namespace tessera
