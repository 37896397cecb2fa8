// A child process with its output in files of a temporary folder.
#include "tests/tools/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <sstream>
#include <thread>

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(60);
constexpr auto kPoll = std::chrono::milliseconds(1);

// In the child: only calls that are safe after fork().
void redirect(const char* path, int to) {
  const int fd = ::open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
  if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(126);
  ::close(fd);
}

}  // namespace

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

int Outcome::error_lines() const { return static_cast<int>(lines_of(err).size()); }

Process::Process(const Words& words, const Surroundings& surroundings)
    : out_file_(surroundings.out_file.empty() ? folder_.file("out") : surroundings.out_file) {
  const std::string err_file = folder_.file("err");
  std::vector<const char*> arguments = {surroundings.program.c_str()};
  for (const std::string& word : words) arguments.push_back(word.c_str());
  arguments.push_back(nullptr);
  const rlim_t limit = static_cast<rlim_t>(surroundings.file_size_limit);

  if (surroundings.terminal) {
    terminal_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE((terminal_ >= 0 && ::grantpt(terminal_) == 0 && ::unlockpt(terminal_) == 0));
  }
  const std::string terminal = surroundings.terminal ? ::ptsname(terminal_) : "";

  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ > 0) return;
  ::signal(SIGHUP, SIG_DFL);  // whoever runs the test may have it ignored
  redirect("/dev/null", STDIN_FILENO);
  redirect(out_file_.c_str(), STDOUT_FILENO);
  // The first terminal that a session's leader opens for reading too becomes its own: when it is
  // closed, the leader gets a SIGHUP.
  if (!terminal.empty() && ::setsid() < 0) ::_exit(126);
  redirect(terminal.empty() ? err_file.c_str() : terminal.c_str(), STDERR_FILENO);
  if (limit > 0) {
    const struct rlimit sizes = {limit, limit};
    if (::setrlimit(RLIMIT_FSIZE, &sizes) != 0) ::_exit(126);
  }
  ::execv(arguments[0], const_cast<char* const*>(arguments.data()));
  ::_exit(127);
}

Process::~Process() {
  if (terminal_ >= 0) ::close(terminal_);
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Process::close_terminal() {
  ::close(terminal_);
  terminal_ = -1;
}

void Process::signal(int number) const { REQUIRE(::kill(pid_, number) == 0); }

Outcome Process::wait() {
  const auto deadline = Clock::now() + kPatience;
  int status = 0;
  while (true) {
    const pid_t done = ::waitpid(pid_, &status, WNOHANG);
    REQUIRE(done >= 0);
    if (done == pid_) break;
    if (Clock::now() > deadline) FAIL("the program hangs; so far: " << slurp(folder_.file("err")));
    std::this_thread::sleep_for(kPoll);
  }
  pid_ = -1;
  const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  REQUIRE(code != 127);  // the program was not found
  const bool own = out_file_ == folder_.file("out");
  return {code, own ? slurp(out_file_) : "", slurp(folder_.file("err"))};
}

Outcome run(const Words& words, const Surroundings& surroundings) {
  return Process(words, surroundings).wait();
}

void wait_until(const std::function<bool()>& condition) {
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    REQUIRE(Clock::now() < deadline);
    std::this_thread::sleep_for(kPoll);
  }
}

Words tiny_pretrain(const std::string& out, int max_steps) {
  return {"pretrain",        "mae",
          "--data",          "builtin:",
          "--arch",          "vit_tiny",
          "--image-size",    "16",
          "--patch-size",    "4",
          "--dim",           "16",
          "--depth",         "1",
          "--heads",         "2",
          "--decoder-dim",   "16",
          "--decoder-depth", "1",
          "--decoder-heads", "2",
          "--batch-size",    "4",
          "--max-steps",     std::to_string(max_steps),
          "--eval-every",    "0",
          "--out",           out};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::string checkpoint_name(int step) { return fmt::format("step-{:08}.safetensors", step); }

std::vector<nlohmann::json> metrics_of(const std::string& run_folder) {
  std::vector<nlohmann::json> records;
  for (const std::string& line : lines_of(slurp(run_folder + "/metrics.jsonl"))) {
    nlohmann::json record = nlohmann::json::parse(line);
    record.erase("images_per_s");
    records.push_back(record);
  }
  return records;
}

void check_mistake(const Words& words, const std::string& named, int status) {
  INFO(fmt::format("tessera {}", fmt::join(words, " ")));
  const Outcome outcome = run(words);
  INFO(outcome.err);
  CHECK(outcome.status == status);
  CHECK(outcome.error_lines() == 1);
  CHECK(outcome.err.starts_with("tessera: "));
  CHECK(outcome.err.find(named) != std::string::npos);
  CHECK(outcome.out.empty());
}

void check_resume(const std::function<Words(const std::string& out)>& command, const Words& resume,
                  int steps) {
  const TempFolder folder;
  const std::string straight = folder.file("straight"), stopped = folder.file("stopped");
  const Outcome whole = run(command(straight));
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  Process process(command(stopped));
  const std::string metrics = stopped + "/metrics.jsonl";
  wait_until(
      [&] { return std::filesystem::exists(metrics) && lines_of(slurp(metrics)).size() >= 8; });
  process.signal(SIGINT);
  const Outcome first = process.wait();
  INFO(first.err);
  REQUIRE(first.status == 130);
  const std::string way_on =
      fmt::format("go on with: tessera {} --resume --out {}", fmt::join(resume, " "), stopped);
  CHECK(first.err.find(way_on) != std::string::npos);
  const Outcome second = run(resume + Words{"--resume", "--out", stopped});
  INFO(second.err);
  REQUIRE(second.status == 0);
  const std::string end = "/" + checkpoint_name(steps);
  CHECK(slurp(stopped + end) == slurp(straight + end));
  CHECK(metrics_of(stopped) == metrics_of(straight));
}

}  // namespace tessera
