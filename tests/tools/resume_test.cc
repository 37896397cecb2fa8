// Stopping and going on: kill -9 at many moments, Ctrl-C, a full disk, a cut checkpoint; what may
// change on --resume and what may not.
// Rule: the judge is a run that nothing disturbed, compared byte for byte.
#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/tools/program.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

size_t count_lines(const std::string& path) { return lines_of(slurp(path)).size(); }

bool ends_with_line_naming(const Outcome& outcome, const std::string& words) {
  const std::vector<std::string> lines = lines_of(outcome.err);
  return !lines.empty() && lines.back().find(words) != std::string::npos;
}

constexpr int kSteps = 240;
const Words kOften = {"--checkpoint-every", "7", "--augment", "crop-flip", "--accumulate", "2"};

// An undisturbed run of kSteps, made once.
const std::string& straight_run() {
  static const TempFolder folder;
  static const std::string path = folder.file("straight");
  static const Outcome outcome = run(tiny_pretrain(path, kSteps) + kOften);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return path;
}

void check_equals_straight_run(const std::string& path) {
  const std::string last = fmt::format("/{}", checkpoint_name(kSteps));
  CHECK(slurp(path + last) == slurp(straight_run() + last));
  CHECK(metrics_of(path) == metrics_of(straight_run()));
}

}  // namespace

TEST_CASE("kill -9 at any moment and resume: the same bytes in the end") {
  const TempFolder folder;
  const std::string path = folder.file("killed");
  const auto patience = std::chrono::milliseconds(5);
  int kills = 0;
  Outcome outcome;
  for (int i = 1;; ++i) {
    // Killed before it had settings to resume with, a run is started anew.
    const bool started = fs::exists(path + "/config.toml");
    Process process(started ? Words{"pretrain", "mae", "--resume", "--out", path}
                            : tiny_pretrain(path, kSteps) + kOften);
    std::this_thread::sleep_for(i * patience);
    process.signal(SIGKILL);  // a process that has ended is still there to be waited for
    outcome = process.wait();
    if (outcome.status == 0) break;
    INFO(outcome.err);
    REQUIRE(outcome.status == 128 + SIGKILL);
    ++kills;
    REQUIRE(kills < 200);
  }
  CHECK(kills >= 5);
  INFO(kills << " kills");
  check_equals_straight_run(path);

  const Outcome again = run({"pretrain", "mae", "--resume", "--out", path});
  CHECK(again.status == 0);
  CHECK(again.error_lines() == 1);
  CHECK(again.err.find("complete") != std::string::npos);
  check_equals_straight_run(path);
}

TEST_CASE("Ctrl-C finishes the step, saves and says how to go on") {
  const TempFolder folder;
  const std::string path = folder.file("interrupted");
  Process process(tiny_pretrain(path, kSteps) + kOften);
  wait_until([&] { return count_lines(path + "/metrics.jsonl") >= 10; });
  process.signal(SIGINT);
  const Outcome outcome = process.wait();
  INFO(outcome.err);
  CHECK(outcome.status == 130);
  CHECK(ends_with_line_naming(outcome, "tessera pretrain mae --resume --out " + path));
  const int step = metrics_of(path).back()["step"];
  CHECK(step < kSteps);
  CHECK(fs::exists(path + "/" + checkpoint_name(step)));

  REQUIRE(run({"pretrain", "mae", "--resume", "--out", path}).status == 0);
  check_equals_straight_run(path);
}

// oneDNN computes with its stack pointer in the heap: a signal's frame written there would break
// the heap, in one stop of a few.
TEST_CASE("no thread of a training is interrupted by a stop signal") {
  const TempFolder folder;
  const std::string path = folder.file("run");
  Process process(tiny_pretrain(path, kSteps) + Words{"--threads", "2", "--workers", "2"});
  wait_until([&] { return count_lines(path + "/metrics.jsonl") >= 3; });
  int waiting = 0, others = 0;
  for (const auto& task : fs::directory_iterator(fmt::format("/proc/{}/task", process.id()))) {
    for (const std::string& line : lines_of(slurp(task.path().string() + "/status"))) {
      if (!line.starts_with("SigBlk:")) continue;
      const uint64_t blocked = std::stoull(line.substr(7), nullptr, 16);
      int open = 0;
      for (const int number : {SIGINT, SIGTERM, SIGHUP}) open += !(blocked >> (number - 1) & 1);
      ++(open == 0 ? others : waiting);
    }
  }
  CHECK(waiting == 1);  // in sigwait
  CHECK(others >= 4);   // two that compute, two that read pictures
  process.signal(SIGINT);
  process.wait();
}

TEST_CASE("a stop that arrives twice, and a terminal that is closed, are one request") {
  for (const bool terminal : {false, true}) {
    INFO((terminal ? "a closed terminal" : "two signals at once"));
    const TempFolder folder;
    const std::string path = folder.file("run");
    Process process(tiny_pretrain(path, kSteps) + kOften,
                    {.file_size_limit = 0, .out_file = "", .terminal = terminal});
    wait_until([&] { return count_lines(path + "/metrics.jsonl") >= 10; });
    if (terminal) {
      process.close_terminal();
    } else {
      process.signal(SIGINT);
      process.signal(SIGTERM);
    }
    CHECK(process.wait().status == 130);
    const int step = metrics_of(path).back()["step"];
    CHECK(step < kSteps);
    CHECK(fs::exists(path + "/" + checkpoint_name(step)));
    REQUIRE(run({"pretrain", "mae", "--resume", "--out", path}).status == 0);
    check_equals_straight_run(path);
  }
}

TEST_CASE("other threads, workers and a moved folder: the same bytes") {
  const TempFolder folder;
  const std::string path = folder.file("here"), there = folder.file("there");
  Process process(tiny_pretrain(path, kSteps) + kOften +
                  Words{"--threads", "1", "--workers", "0", "--keep", "3"});
  wait_until([&] { return count_lines(path + "/metrics.jsonl") >= 10; });
  process.signal(SIGTERM);
  CHECK(process.wait().status == 130);
  fs::rename(path, there);
  const Outcome outcome =
      run({"pretrain", "mae", "--resume", "--out", there, "--threads", "2", "--workers", "3",
           "--checkpoint-every", "50", "--keep", "4", "--log-json", "--device", "cpu"});
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  check_equals_straight_run(there);
}

TEST_CASE("16-bit runs resume to the same bytes, with and without checkpointed activations") {
  for (const std::string precision : {"bf16", "f16"}) {
    INFO(precision);
    constexpr int kFew = 40;
    const TempFolder folder;
    const std::string straight = folder.file("straight"), stopped = folder.file("stopped");
    const Words low = {"--precision", precision, "--checkpoint-every", "5"};
    REQUIRE(run(tiny_pretrain(straight, kFew) + low).status == 0);
    Process process(tiny_pretrain(stopped, kFew) + low + Words{"--checkpoint-activations"});
    wait_until([&] { return count_lines(stopped + "/metrics.jsonl") >= 10; });
    process.signal(SIGINT);
    CHECK(process.wait().status == 130);
    REQUIRE(run({"pretrain", "mae", "--resume", "--out", stopped}).status == 0);
    CHECK(slurp(stopped + "/" + checkpoint_name(kFew)) ==
          slurp(straight + "/" + checkpoint_name(kFew)));
    CHECK(metrics_of(stopped) == metrics_of(straight));
    CHECK(metrics_of(straight).back().contains("loss_scale") == (precision == "f16"));
  }
}

TEST_CASE("pictures kept in memory: the same bytes") {
  const TempFolder folder;
  const std::string plain = folder.file("plain"), kept = folder.file("kept");
  const auto command = [](const std::string& out, const char* mebibytes) {
    return tiny_pretrain(out, 12) +
           Words{"--data", "builtin:20", "--augment", "crop-flip", "--decoded-cache", mebibytes};
  };
  const Outcome without = run(command(plain, "0")), with = run(command(kept, "1"));
  INFO(with.err);
  REQUIRE(without.status == 0);
  REQUIRE(with.status == 0);
  CHECK(without.err.find("decoded pictures are kept") == std::string::npos);
  CHECK(with.err.find("decoded pictures are kept") != std::string::npos);
  CHECK(slurp(plain + "/" + checkpoint_name(12)) == slurp(kept + "/" + checkpoint_name(12)));
  // A resumed run keeps to its size, and may be given another.
  fs::remove(kept + "/" + checkpoint_name(12));
  const Words resume = {"pretrain", "mae", "--resume", "--out", kept};
  CHECK(run(resume).err.find("up to 1 MB") != std::string::npos);
  fs::remove(kept + "/" + checkpoint_name(12));
  CHECK(run(resume + Words{"--decoded-cache", "0"}).err.find("decoded pictures are kept") ==
        std::string::npos);
  CHECK(slurp(plain + "/" + checkpoint_name(12)) == slurp(kept + "/" + checkpoint_name(12)));
}

TEST_CASE("a resume on another machine or by another version says that bits may differ") {
  const TempFolder folder;
  const std::string path = folder.file("run");
  const Words resume = {"pretrain", "mae", "--resume", "--out", path};
  fs::copy(straight_run(), path);
  const std::string config = slurp(path + "/config.toml");
  REQUIRE(config.starts_with("# tessera "));
  for (const bool elsewhere : {false, true}) {
    fs::remove(path + "/" + checkpoint_name(kSteps));
    if (elsewhere)
      spill(path + "/config.toml",
            "# tessera 0.0.1 on an abacus\n" + config.substr(config.find('\n') + 1));
    const Outcome outcome = run(resume);
    INFO(outcome.err);
    CHECK(outcome.status == 0);
    CHECK((outcome.err.find("not bit for bit") != std::string::npos) == elsewhere);
  }
}

TEST_CASE("a full disk while saving: one line, and the last checkpoint stays") {
  const TempFolder folder;
  const std::string path = folder.file("full");
  Process process(tiny_pretrain(path, kSteps) + kOften);
  wait_until([&] { return count_lines(path + "/metrics.jsonl") >= 20; });
  process.signal(SIGINT);
  REQUIRE(process.wait().status == 130);
  const int step = metrics_of(path).back()["step"];
  const std::string last_good = path + "/" + checkpoint_name(step);
  const std::string bytes = slurp(last_good);

  // Room for the metrics, but not for a checkpoint.
  const Words resume = {"pretrain", "mae", "--resume", "--out", path};
  const Outcome outcome = run(
      resume,
      {.file_size_limit = static_cast<long>(bytes.size() / 2), .out_file = "", .terminal = false});
  INFO(outcome.err);
  CHECK(outcome.status == 1);
  CHECK(ends_with_line_naming(outcome, path));
  CHECK(slurp(last_good) == bytes);
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    CHECK((name[0] != '.' || name == ".lock"));  // nothing half-written is left
  }

  REQUIRE(run(resume).status == 0);
  check_equals_straight_run(path);
}

TEST_CASE("an evaluation that fails costs nothing that was learnt") {
  const TempFolder folder;
  const std::string path = folder.file("run"), straight = folder.file("straight");
  const Words often = {"--eval-every", "3", "--checkpoint-every", "100"};
  REQUIRE(run(tiny_pretrain(straight, 6) + often).status == 0);
  const std::string in_the_way = path + "/reconstruction-00000003.png";
  fs::create_directories(in_the_way);
  const Outcome outcome = run(tiny_pretrain(path, 6) + often);
  INFO(outcome.err);
  CHECK(outcome.status == 1);
  CHECK(ends_with_line_naming(outcome, in_the_way));
  CHECK(fs::exists(path + "/" + checkpoint_name(3)));
  CHECK(metrics_of(path).size() == 3);
  fs::remove(in_the_way);
  REQUIRE(run({"pretrain", "mae", "--resume", "--out", path}).status == 0);
  CHECK(slurp(path + "/" + checkpoint_name(6)) == slurp(straight + "/" + checkpoint_name(6)));
}

TEST_CASE("a cut newest checkpoint: the one before is taken") {
  const TempFolder folder;
  const std::string path = folder.file("cut");
  fs::copy(straight_run(), path);
  const std::string newest = path + "/" + checkpoint_name(kSteps);
  const std::string bytes = slurp(newest);
  for (const size_t length : {size_t{0}, size_t{5}, bytes.size() / 2, bytes.size() - 1}) {
    spill(newest, std::string_view(bytes).substr(0, length));
    const Outcome outcome = run({"pretrain", "mae", "--resume", "--out", path});
    INFO(outcome.err);
    CHECK(outcome.status == 0);
    CHECK(outcome.err.find(checkpoint_name(kSteps)) != std::string::npos);
    check_equals_straight_run(path);
  }
}

TEST_CASE("a run's folder has one writer") {
  const TempFolder folder;
  const std::string path = folder.file("one");
  Process first(tiny_pretrain(path, 1'000'000));
  wait_until([&] { return count_lines(path + "/metrics.jsonl") >= 3; });
  for (const Words& second :
       {tiny_pretrain(path, 5), Words{"pretrain", "mae", "--resume", "--out", path}}) {
    const Outcome outcome = run(second);
    INFO(outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.err.find(path) != std::string::npos);
  }
  first.signal(SIGINT);
  CHECK(first.wait().status == 130);
}

TEST_CASE("--resume refuses by name what would change the result, and nothing else") {
  const TempFolder folder;
  const std::string path = folder.file("run");
  REQUIRE(run(tiny_pretrain(path, 2)).status == 0);
  const std::string bytes = slurp(path + "/" + checkpoint_name(2));
  const Words resume = {"pretrain", "mae", "--resume", "--out", path};

  const std::vector<Words> changes = {
      {"--arch", "vit_small"},   {"--image-size", "32"},
      {"--image-size", "16x32"}, {"--channels", "1"},
      {"--patch-size", "8"},     {"--dim", "32"},
      {"--depth", "2"},          {"--heads", "4"},
      {"--decoder-dim", "32"},   {"--decoder-depth", "2"},
      {"--decoder-heads", "4"},  {"--mlp-ratio", "2"},
      {"--mask-ratio", "0.5"},   {"--norm-pix-loss"},
      {"--holdout", "0.1"},      {"--augment", "none"},
      {"--crop-scale", "0.5,1"}, {"--mean", "cifar"},
      {"--std", "cifar"},        {"--epochs", "3"},
      {"--max-steps", "3"},      {"--batch-size", "8"},
      {"--accumulate", "2"},     {"--base-lr", "1e-3"},
      {"--min-lr", "1e-6"},      {"--betas", "0.9", "0.99"},
      {"--weight-decay", "0.1"}, {"--warmup-epochs", "1"},
      {"--warmup-steps", "1"},   {"--clip-grad", "1"},
      {"--eval-every", "1"},     {"--seed", "1"},
      {"--data", "builtin:100"}, {"--color-jitter", "0.1"},
  };
  for (const Words& change : changes) {
    const Outcome outcome = run(resume + change);
    INFO(change[0] << ": " << outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.err.find(change[0]) != std::string::npos);
  }

  // The run's own values may be repeated, in any spelling; the others are free.
  const std::vector<Words> harmless = {
      tiny_pretrain(path, 2),   {"--image-size", "16x16"}, {"--mean", "imagenet"},
      {"--betas", "0.90,.95"},  {"--threads", "1"},        {"--workers", "0"},
      {"--decoded-cache", "1"}, {"--keep", "7"},           {"--checkpoint-every", "3"},
      {"--log-json"},           {"--device", "cpu"},       {"--config", path + "/config.toml"},
  };
  for (const Words& repeated : harmless) {
    const Words words =
        repeated[0] == "pretrain" ? repeated + Words{"--resume"} : resume + repeated;
    const Outcome outcome = run(words);
    INFO(repeated[0] << ": " << outcome.err);
    CHECK(outcome.status == 0);
    CHECK(outcome.err.find("complete") != std::string::npos);
  }
  CHECK(slurp(path + "/" + checkpoint_name(2)) == bytes);
}

TEST_CASE("--resume needs a run to go on with, and to be told where") {
  const TempFolder folder;
  for (const Words& more :
       {Words{}, Words{"--out", folder.file("none")}, Words{"--out", folder.path()}}) {
    const Outcome outcome = run(Words{"pretrain", "mae", "--resume"} + more);
    INFO(outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.err.find("--resume") != std::string::npos);
  }
}

TEST_CASE("a run without its config.toml asks for --data alone") {
  const TempFolder folder;
  const std::string path = folder.file("run");
  fs::copy(straight_run(), path);
  fs::remove(path + "/config.toml");
  fs::remove(path + "/" + checkpoint_name(kSteps));
  const Words resume = {"pretrain", "mae", "--resume", "--out", path};
  const Outcome refused = run(resume);
  CHECK(refused.status == 2);
  CHECK(refused.err.find("--data") != std::string::npos);
  REQUIRE(run(resume + Words{"--data", "builtin:"}).status == 0);
  check_equals_straight_run(path);
}

}  // namespace tessera
