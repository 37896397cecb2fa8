// The run's folder: refusals, the lock, pruning, and a saver killed at any moment.
#include "train/run_folder.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <random>

#include "tests/train/temp_folder.h"
#include "train/files/safetensors.h"

namespace tessera {
namespace {

using Catch::Contains;
using Start = RunFolder::Start;

// A checkpoint whose every element is its step, so that a mixture of two would show.
void save(const RunFolder& folder, int64_t step, size_t elements = 100) {
  const std::vector<int64_t> data(elements, step);
  const std::vector<SafetensorsTensor> tensors = {
      {"w", DType::kI64, {static_cast<int64_t>(elements)}, data.data()}};
  write_safetensors(folder.checkpoint_path(step), tensors, {{"step", std::to_string(step)}});
}

std::vector<int64_t> steps(const std::string& folder) {
  std::vector<int64_t> found;
  for (const CheckpointFile& file : list_checkpoints(folder)) found.push_back(file.step);
  return found;
}

TEST_CASE("a run's folder is made with its parents") {
  const TempFolder temp;
  const RunFolder folder(temp.file("a/b"), Start::kNew);
  CHECK(std::filesystem::is_directory(temp.file("a/b")));
  CHECK(folder.checkpoint_path(12) == temp.file("a/b/step-00000012.safetensors"));
  CHECK(folder.checkpoint_path(1234567890) == temp.file("a/b/step-1234567890.safetensors"));
}

TEST_CASE("a folder that cannot be had is a user's mistake with a reason") {
  const TempFolder temp;
  spill(temp.file("file"), "x");
  CHECK_THROWS_AS(RunFolder("/proc/nowhere", Start::kNew), UsageError);
  CHECK_THAT(error_of([] { RunFolder folder("/proc/nowhere", Start::kNew); }),
             Contains("/proc/nowhere"));
  CHECK_THAT(error_of([&] { RunFolder folder(temp.file("file"), Start::kNew); }),
             Contains(temp.file("file")));
  CHECK_THAT(error_of([&] { RunFolder folder(temp.file("none"), Start::kResume); }),
             Contains("none"));
  CHECK(temp.names() == std::vector<std::string>{"file"});
}

TEST_CASE("a folder that holds a run is refused without resume and left as it is") {
  const TempFolder temp;
  { save(RunFolder(temp.path(), Start::kNew), 3); }
  CHECK_THAT(error_of([&] { RunFolder folder(temp.path(), Start::kNew); }),
             Contains(temp.path()) && Contains("--resume"));
  CHECK(steps(temp.path()) == std::vector<int64_t>{3});
  { const RunFolder again(temp.path(), Start::kResume); }

  const TempFolder other;
  spill(other.file("metrics.jsonl"), "{\"step\":1}\n");
  CHECK_THROWS_AS(RunFolder(other.path(), Start::kNew), UsageError);
  // Neither a step nor a checkpoint: nothing that a new start would lose.
  spill(other.file("metrics.jsonl"), "");
  spill(other.file("config.toml"), "seed = 1\n");
  CHECK_NOTHROW(RunFolder(other.path(), Start::kNew));
}

TEST_CASE("a second writer is refused while the first lives") {
  const TempFolder temp;
  auto first = std::make_unique<RunFolder>(temp.path(), Start::kNew);
  save(*first, 1);
  for (const Start start : {Start::kNew, Start::kResume}) {
    CHECK_THROWS_AS(RunFolder(temp.path(), start), UsageError);
    CHECK_THAT(error_of([&] { RunFolder folder(temp.path(), start); }),
               Contains("in use") && Contains(std::to_string(getpid())));
  }
  first.reset();
  CHECK_NOTHROW(RunFolder(temp.path(), Start::kResume));
}

TEST_CASE("a second writer's refusal touches nothing of the first") {
  const TempFolder temp;
  const RunFolder first(temp.path(), Start::kNew);
  spill(temp.file(".step-00000002.safetensors.1.tessera-partial"), "being written");
  error_of([&] { RunFolder second(temp.path(), Start::kResume); });
  CHECK(std::filesystem::exists(temp.file(".step-00000002.safetensors.1.tessera-partial")));
}

TEST_CASE("only names that are checkpoints are listed, newest first") {
  const TempFolder temp;
  const RunFolder folder(temp.path(), Start::kNew);
  for (int64_t step : {9, 100, 123456789, 20}) save(folder, step);
  for (const char* name : {"step-.safetensors", "step-12x.safetensors", "step--3.safetensors",
                           "step-00000005.safetensors.old", "weights.safetensors", "step-7"}) {
    spill(temp.file(name), "x");
  }
  CHECK(steps(temp.path()) == std::vector<int64_t>{123456789, 100, 20, 9});
  CHECK(list_checkpoints(temp.file("none")).empty());
}

TEST_CASE("a broken newest checkpoint is passed over with its reason") {
  const TempFolder temp;
  const RunFolder folder(temp.path(), Start::kNew);
  CHECK_FALSE(newest_whole_checkpoint(temp.path()).has_value());
  for (int64_t step : {1, 2, 3}) save(folder, step);
  CHECK(newest_whole_checkpoint(temp.path())->step == 3);
  std::filesystem::resize_file(folder.checkpoint_path(3), 50);
  spill(folder.checkpoint_path(4), "");
  std::vector<std::string> broken;
  CHECK(newest_whole_checkpoint(temp.path(), &broken)->step == 2);
  REQUIRE(broken.size() == 2);
  CHECK_THAT(broken[0], Contains("step-00000004.safetensors"));
  CHECK_THAT(broken[1], Contains("step-00000003.safetensors"));
}

TEST_CASE("pruning keeps the newest whole ones") {
  const TempFolder temp;
  const RunFolder folder(temp.path(), Start::kNew);
  for (int64_t step : {1, 2, 3, 4, 5}) save(folder, step);
  folder.prune(3);
  CHECK(steps(temp.path()) == std::vector<int64_t>{5, 4, 3});
  // A broken file counts for nothing: with two to keep, none of the whole ones may go.
  save(folder, 6);
  std::filesystem::resize_file(folder.checkpoint_path(6), 20);
  std::filesystem::resize_file(folder.checkpoint_path(4), 20);
  folder.prune(2);
  CHECK(steps(temp.path()) == std::vector<int64_t>{6, 5, 4, 3});
  save(folder, 7);
  folder.prune(2);
  CHECK(steps(temp.path()) == std::vector<int64_t>{7, 6, 5});
  CHECK_THROWS_AS(folder.prune(0), Error);
}

TEST_CASE("broken files are listed once each") {
  const TempFolder temp;
  const RunFolder folder(temp.path(), Start::kNew);
  folder.add_broken_files(std::vector<std::string>{"b.jpg: cut short", "a.jpg: no picture"});
  folder.add_broken_files(std::vector<std::string>{"b.jpg: cut short", "c\nd.jpg: odd name"});
  CHECK(slurp(folder.broken_files_path()) ==
        "a.jpg: no picture\nb.jpg: cut short\nc d.jpg: odd name\n");
}

// A child saves one checkpoint after another, each with a few MB, and keeps two.
[[noreturn]] void save_until_killed(const std::string& path) {
  const RunFolder folder(path, Start::kResume);
  const auto newest = newest_whole_checkpoint(path);
  for (int64_t step = newest ? newest->step + 1 : 1;; ++step) {
    save(folder, step, 300'000);
    folder.prune(2);
  }
}

TEST_CASE("kill -9 at any moment leaves a whole checkpoint and no lock") {
  const TempFolder temp;
  { const RunFolder make(temp.path(), Start::kNew); }
  std::mt19937 random(1);
  int64_t newest_before = 0;
  int with_leftover = 0;
  for (int round = 0; round < 50; ++round) {
    const pid_t child = fork();
    if (child == 0) save_until_killed(temp.path());
    usleep(std::uniform_int_distribution<unsigned>(0, 40'000)(random));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));

    for (const std::string& name : temp.names()) with_leftover += name.ends_with("-partial");
    const RunFolder folder(temp.path(), Start::kResume);  // the lock is free
    for (const std::string& name : temp.names()) REQUIRE_FALSE(name.ends_with("-partial"));
    std::vector<std::string> broken;
    const auto newest = newest_whole_checkpoint(temp.path(), &broken);
    REQUIRE(broken.empty());
    REQUIRE(steps(temp.path()).size() <= 3);  // two, and one that the kill left unpruned
    folder.prune(2);                          // or each round might leave one more
    if (!newest) {
      REQUIRE(newest_before == 0);
      continue;
    }
    REQUIRE(newest->step >= newest_before);
    newest_before = newest->step;
    const SafetensorsReader file(newest->path);
    REQUIRE(file.metadata().at("step") == std::to_string(newest->step));
    std::vector<int64_t> data(300'000);
    file.read(file.at("w"), std::as_writable_bytes(std::span(data)));
    REQUIRE(data == std::vector<int64_t>(data.size(), newest->step));
  }
  CHECK(newest_before > 10);
  CHECK(with_leftover > 0);  // else the kills never met a save in progress
}

}  // namespace
}  // namespace tessera
