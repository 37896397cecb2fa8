// Runs the built `tessera` as a user does: words in; exit status, stdout and stderr out.
// Rule: nothing here waits for ever: a program that hangs is killed and fails the test.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/train/temp_folder.h"

namespace tessera {

using Words = std::vector<std::string>;
Words operator+(Words a, const Words& b);

struct Outcome {
  int status = 0;  // exit status, or 128 + signal
  std::string out, err;

  int error_lines() const;
};

struct Surroundings {
  std::string program = "tools/tessera";  // in the test's runfiles
  long file_size_limit = 0;               // bytes a file may have, 0: any (as a full disk would)
  std::string out_file;                   // where stdout goes, in place of a file that is read back
  bool terminal = false;                  // stderr is a terminal of its own, which is not read
};

// A program that is running.
class Process {
 public:
  explicit Process(const Words& words, const Surroundings& surroundings = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t id() const { return pid_; }
  void signal(int number) const;
  void close_terminal();
  Outcome wait();  // at most a minute

 private:
  TempFolder folder_;
  std::string out_file_;
  pid_t pid_ = -1;
  int terminal_ = -1;  // the other end of the program's
};

Outcome run(const Words& words, const Surroundings& surroundings = {});

// Until condition() holds; fails the test after 20 s.
void wait_until(const std::function<bool()>& condition);

// A model so small that a step takes about a millisecond, on four pictures at a time.
Words tiny_pretrain(const std::string& out, int max_steps);

// The lines of a text.
std::vector<std::string> lines_of(const std::string& text);

// "step-00000012.safetensors"
std::string checkpoint_name(int step);

// metrics.jsonl without the speed, which differs from run to run.
std::vector<nlohmann::json> metrics_of(const std::string& run_folder);

// The words are refused with one line that names what is wrong, and print nothing.
void check_mistake(const Words& words, const std::string& named, int status = 2);

// A training of `steps`, undisturbed, and stopped by Ctrl-C and gone on with, ends in the same
// bytes. `resume`: the command's words, such as "pretrain", "mae".
void check_resume(const std::function<Words(const std::string& out)>& command, const Words& resume,
                  int steps);

}  // namespace tessera
