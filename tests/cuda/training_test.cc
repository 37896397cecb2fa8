// A short training on the CUDA device (emulated), as a user starts it: it learns what the CPU
// learns, gives the same bytes every time, replayed or queued anew, and goes on exactly after a
// stop.
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/tools/program.h"

namespace tessera {
namespace {

const Surroundings kEmulated = {.program = "tools/tessera_emulated"};

// The losses of a run's steps.
std::vector<double> train(const Words& words, const std::string& folder) {
  const Outcome outcome = run(words, kEmulated);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  std::vector<double> losses;
  for (const std::string& line : lines_of(slurp(folder + "/metrics.jsonl"))) {
    losses.push_back(nlohmann::json::parse(line).at("loss").get<double>());
  }
  return losses;
}

std::string last_checkpoint(const std::string& folder) {
  return slurp(folder + "/step-00000006.safetensors");
}

Words pretrain(const std::string& folder, int steps, const std::string& device) {
  return tiny_pretrain(folder, steps) + Words{"--device", device};
}

TEST_CASE("info names the device") {
  const Outcome info = run({"info"}, kEmulated);
  CHECK(info.status == 0);
  CHECK_THAT(info.out, Catch::Contains("cuda         the emulator"));
}

TEST_CASE("a training on the device learns what it learns on the CPU") {
  for (const char* precision : {"f32", "bf16"}) {
    const TempFolder folder;
    const Words how = {"--precision", precision};
    const std::string on_cpu = folder.file("cpu"), on_cuda = folder.file("cuda");
    const auto want = train(pretrain(on_cpu, 6, "cpu") + how, on_cpu);
    const auto have = train(pretrain(on_cuda, 6, "cuda") + how, on_cuda);
    REQUIRE(want.size() == 6);
    REQUIRE(have.size() == 6);
    INFO(precision);
    const double bound = precision == std::string("f32") ? 1e-5 : 1e-2;
    for (size_t i = 0; i < want.size(); ++i) {
      CHECK(std::fabs(have[i] - want[i]) <= bound * std::fabs(want[i]));
    }
    CHECK(have.back() < have.front());
  }
}

TEST_CASE("auto is the device, and every run gives the same bytes") {
  const TempFolder folder;
  const std::string first = folder.file("first"), second = folder.file("second");
  train(pretrain(first, 6, "cuda"), first);
  train(pretrain(second, 6, "auto"), second);
  CHECK(last_checkpoint(first) == last_checkpoint(second));
}

// A run's records without what differs from run to run.
std::vector<nlohmann::json> records(const std::string& folder) {
  std::vector<nlohmann::json> all;
  for (const std::string& line : lines_of(slurp(folder + "/metrics.jsonl"))) {
    all.push_back(nlohmann::json::parse(line));
    all.back().erase("images_per_s");
    all.back().erase("time");
  }
  return all;
}

TEST_CASE("replayed steps and steps queued anew give the same files") {
  for (const char* precision : {"f32", "bf16", "f16"}) {
    INFO(precision);
    const TempFolder folder;
    const std::string replayed = folder.file("replayed"), anew = folder.file("anew");
    const Words how = {"--precision",           precision, "--clip-grad",      "0.5",
                       "--ema-decay",           "0.9",     "--accumulate",     "2",
                       "--mask-ratio-schedule", "linear",  "--mask-ratio-end", "0.5"};
    train(pretrain(replayed, 6, "cuda") + how, replayed);
    train(pretrain(anew, 6, "cuda") + how + Words{"--no-graph"}, anew);
    CHECK(last_checkpoint(replayed) == last_checkpoint(anew));
    CHECK(records(replayed) == records(anew));
  }
}

TEST_CASE("a profile of the device's ops lies in the run's folder") {
  const TempFolder folder;
  const std::string out = folder.file("run");
  train(pretrain(out, 6, "cuda") + Words{"--profile", "3"}, out);
  const std::string table = slurp(out + "/profile.txt");
  for (const char* op : {"linear", "linear backward", "attention", "adamw", "of limit"}) {
    CHECK_THAT(table, Catch::Contains(op));
  }
  CHECK(nlohmann::json::parse(slurp(out + "/profile.json")).at("traceEvents").size() > 100);
}

TEST_CASE("a run on the device goes on exactly") {
  const TempFolder folder;
  const std::string straight = folder.file("straight"), broken = folder.file("broken");
  const Words often = {"--checkpoint-every", "4"};
  train(pretrain(straight, 6, "cuda") + often, straight);
  train(pretrain(broken, 6, "cuda") + often, broken);
  const std::string last = broken + "/step-00000006.safetensors";
  for (const Words& how : {Words{}, Words{"--no-graph"}}) {
    REQUIRE(std::filesystem::remove(last));
    train(Words{"pretrain", "mae", "--resume", "--out", broken, "--device", "cuda"} + how, broken);
    CHECK(last_checkpoint(broken) == last_checkpoint(straight));
  }
}

}  // namespace
}  // namespace tessera
