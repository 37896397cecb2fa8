// Every command on the emulated device, as a user types it: it launches kernels there, none with
// --device cpu, and says the same. The device's memory is closed to the host (emulator/memory.h),
// so a command that reads it there dies.
#include <fmt/format.h>
#include <stdlib.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "data/decode.h"
#include "tests/tools/program.h"
#include "train/checkpoint.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

// Before anything is allocated; the programs that are started inherit it.
const bool kDeviceIsClosed = setenv("TESSERA_CLOSED_DEVICE", "1", 1) == 0;

using nlohmann::json;

const Surroundings kEmulated = {.program = "tools/tessera_emulated"};

struct Ran {
  std::string out;       // its stdout
  int64_t launches = 0;  // kernels
};

Ran run_on(const std::string& device, const Words& words) {
  const TempFolder folder;
  const std::string count = folder.file("launches");
  setenv("TESSERA_EMULATOR_LAUNCHES", count.c_str(), 1);
  REQUIRE(kDeviceIsClosed);
  const Outcome outcome = run(words + Words{"--device", device}, kEmulated);
  INFO(fmt::format("tessera {} --device {}", fmt::join(words, " "), device));
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return {outcome.out, std::stoll(slurp(count))};
}

bool near(double a, double b) { return std::fabs(a - b) <= 1e-6 + 1e-4 * std::fabs(b); }

// The same text, lists and names; numbers as near as f32 leaves them.
void check_same(const json& have, const json& want, const std::string& where) {
  if (want.is_structured()) {
    REQUIRE(have.size() == want.size());
    for (const auto& [key, value] : want.items()) {
      check_same(want.is_object() ? have.at(key) : have.at(std::stoul(key)), value,
                 where + "/" + key);
    }
    return;
  }
  INFO(where << ": " << have.dump() << " and " << want.dump());
  if (want.is_number()) {
    CHECK(near(have.get<double>(), want.get<double>()));
  } else {
    CHECK(have == want);
  }
}

// What a command prints with --json, on both.
void check_says_same(const Words& words) {
  const Ran want = run_on("cpu", words), have = run_on("cuda", words);
  CHECK(want.launches == 0);
  CHECK(have.launches > 0);
  const Words wanted = lines_of(want.out), had = lines_of(have.out);
  REQUIRE(!wanted.empty());
  REQUIRE(had.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    check_same(json::parse(had[i]), json::parse(wanted[i]), words[0]);
  }
}

// The same picture: a shade may be rounded to its neighbour.
void check_same_picture(const std::string& have_path, const std::string& want_path) {
  const Image have = read_image(have_path), want = read_image(want_path);
  REQUIRE(have.height == want.height);
  REQUIRE(have.width == want.width);
  int most = 0;
  for (int y = 0; y < want.height; ++y) {
    for (int x = 0; x < want.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        most = std::max(most, std::abs(int(have.at(y, x, c)) - int(want.at(y, x, c))));
      }
    }
  }
  INFO(have_path);
  CHECK(most <= 1);
}

// A command that draws, on both.
void check_draws_same(const Words& words, const std::string& flag) {
  const TempFolder folder;
  const std::string on_cpu = folder.file("cpu.png"), on_cuda = folder.file("cuda.png");
  CHECK(run_on("cpu", words + Words{flag, on_cpu}).launches == 0);
  CHECK(run_on("cuda", words + Words{flag, on_cuda}).launches > 0);
  check_same_picture(on_cuda, on_cpu);
}

// A training on both: the same figures at every step, the same pictures. The kernels it launched.
int64_t check_trains_same(const Words& words) {
  const TempFolder folder;
  const std::string on_cpu = folder.file("cpu"), on_cuda = folder.file("cuda");
  const Ran want = run_on("cpu", words + Words{"--out", on_cpu});
  const Ran have = run_on("cuda", words + Words{"--out", on_cuda});
  CHECK(want.launches == 0);
  CHECK(have.launches > 0);
  const Words wanted = lines_of(slurp(on_cpu + "/metrics.jsonl"));
  const Words had = lines_of(slurp(on_cuda + "/metrics.jsonl"));
  REQUIRE(wanted.size() == 2);
  REQUIRE(had.size() == 2);
  for (size_t i = 0; i < wanted.size(); ++i) {
    json a = json::parse(had[i]), b = json::parse(wanted[i]);
    a.erase("images_per_s");
    b.erase("images_per_s");
    check_same(a, b, fmt::format("{} {}, step {}", words[0], words[1], i + 1));
  }
  for (const auto& entry : std::filesystem::directory_iterator(on_cpu)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".png")) check_same_picture(on_cuda + "/" + name, on_cpu + "/" + name);
  }
  return have.launches;
}

// Two steps on 40 drawn pictures of 16 x 16, ten of them held out.
Words two_steps() {
  return {"--data", "builtin:40",  "--holdout", "0.25",      "--batch-size",
          "4",      "--max-steps", "2",         "--workers", "0"};
}

Words tokenizer(const Words& more) {
  return Words{"tokenizer", "train", "--image-size", "16", "--vocab", "24", "--augment", "flip"} +
         two_steps() + more;
}
Words dvae() { return tokenizer({"--layers", "2", "--width", "8", "--codebook-dim", "8"}); }
Words mae() {
  return Words{"pretrain",        "mae", "--arch",       "vit_tiny", "--image-size",    "16",
               "--patch-size",    "4",   "--dim",        "16",       "--depth",         "2",
               "--heads",         "2",   "--mean",       "cifar",    "--decoder-dim",   "16",
               "--decoder-depth", "1",   "--eval-every", "0",        "--decoder-heads", "2"} +
         two_steps();
}
Words without_evaluation(Words words) { return words + Words{"--eval-every", "0"}; }

// Made once, on the CPU.
struct Runs {
  TempFolder folder;
  std::string tokens = folder.file("tokens"), mae = folder.file("mae"),
              classes = folder.file("classes");

  Runs() {
    run_on("cpu", without_evaluation(dvae()) + Words{"--out", tokens});
    run_on("cpu", tessera::mae() + Words{"--out", mae});
    run_on("cpu", without_evaluation(finetune()) + Words{"--out", classes});
  }
  Words finetune() const {
    return Words{"finetune", "--checkpoint", mae, "--ema-decay", "0.9"} + two_steps();
  }
  Words beit() const {
    return Words{"pretrain",     "beit", "--tokenizer",  tokens, "--arch",    "vit_tiny",
                 "--image-size", "16",   "--patch-size", "4",    "--dim",     "16",
                 "--depth",      "2",    "--heads",      "2",    "--augment", "flip"} +
           two_steps();
  }
};

const Runs& runs() {
  static const Runs made;
  return made;
}

}  // namespace

TEST_CASE("a tokenizer learns the same on the device") {
  check_trains_same(dvae() + Words{"--eval-every", "1", "--kl-weight", "0.1"});
  check_trains_same(tokenizer({"--arch", "dalle", "--width", "8", "--decoder-width", "8",
                               "--blocks-per-group", "1", "--straight-through"}));
  check_says_same(
      {"tokenizer", "evaluate", "--checkpoint", runs().tokens, "--data", "builtin:8", "--json"});
}

TEST_CASE("BEiT learns the same on the device, and asks the tokenizer there") {
  const TempFolder folder;
  const Words cache = {"--token-cache", folder.file("tokens.safetensors"), "--eval-every", "0"};
  const int64_t evaluated = check_trains_same(runs().beit() + Words{"--eval-every", "1"});
  const int64_t asked = check_trains_same(without_evaluation(runs().beit()));
  const int64_t cached = check_trains_same(runs().beit() + cache);  // made by the run on the CPU
  CHECK(evaluated > asked);
  CHECK(asked > cached);
}

TEST_CASE("a MAE that is probed learns the same on the device") {
  const int64_t plain = check_trains_same(mae());
  const int64_t probed = check_trains_same(mae() + Words{"--probe-every", "1"});
  CHECK(probed > plain);
}

TEST_CASE("a classifier learns the same on the device") {
  const int64_t evaluated = check_trains_same(runs().finetune() + Words{"--eval-every", "1"});
  CHECK(evaluated > check_trains_same(without_evaluation(runs().finetune())));
  const Words on = {"--checkpoint", runs().classes, "--data", "builtin:12", "--json"};
  check_says_same(Words{"evaluate", "classification"} + on);
  check_says_same(Words{"predict"} + on);
}

TEST_CASE("an encoder is looked at on the device") {
  const Words on = {"--checkpoint", runs().mae, "--data", "builtin:40"};
  check_says_same(Words{"probe", "--holdout", "0.25", "--knn-k", "5", "--epochs", "3", "--json"} +
                  on);
  check_draws_same(Words{"attention", "--images", "2", "--all-blocks"} + on, "--out");
  const TempFolder folder;
  const std::string on_cpu = folder.file("cpu.safetensors"),
                    on_cuda = folder.file("cuda.safetensors");
  const Words features = Words{"features", "--images", "6", "--pool", "tokens"} + on;
  CHECK(run_on("cpu", features + Words{"--out", on_cpu}).launches == 0);
  CHECK(run_on("cuda", features + Words{"--out", on_cuda}).launches > 0);
  const auto table = [](const std::string& path) {
    return read_tensors(SafetensorsReader(path),
                        [](const std::string& name) { return name == "features"; })
        .at("features")
        .to_vector<float>();
  };
  const std::vector<float> have = table(on_cuda), want = table(on_cpu);
  REQUIRE(have.size() == 6 * 17 * 16);
  REQUIRE(want.size() == have.size());
  for (size_t i = 0; i < want.size(); ++i) CHECK(std::fabs(have[i] - want[i]) < 1e-5);
}

TEST_CASE("a MAE completes pictures on the device") {
  const Words on = {"--checkpoint", runs().mae, "--data", "builtin:4"};
  check_draws_same(Words{"reconstruct"} + on, "--out");
  check_says_same(Words{"evaluate", "reconstruction", "--json"} + on);
}

}  // namespace tessera
