// Questions to the kernel: /proc, control groups, terminals; the stop signals.
// Rule: no signal is ever handled on a thread that computes. oneDNN's f32 products put the stack
// pointer into a buffer of the heap, and the kernel would write the signal's frame below it, over
// whatever else lies there. So every thread blocks the stop signals, and one waits for them.
#include "train/system.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

namespace tessera {
namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

// The number a file begins with; kUnknown when there is none ("max" is no limit).
int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kUnknown;
}

// The number after a word at the start of a line ("MemAvailable:", "inactive_file"), else
// `missing`.
int64_t number_after(const std::string& path, std::string_view word, int64_t missing) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name;
    int64_t value = 0;
    if (fields >> name >> value && name == word) return value;
  }
  return missing;
}

// What one control group leaves: its limit less what it uses, file cache that can be dropped aside.
int64_t group_leaves(const std::string& folder, const char* limit_name, const char* usage_name) {
  const int64_t limit = number_in(folder + limit_name), usage = number_in(folder + usage_name);
  if (limit == kUnknown || usage == kUnknown) return kUnknown;
  const int64_t cache = number_after(folder + "/memory.stat", "inactive_file", 0);
  return std::max<int64_t>(0, limit - usage + std::min(cache, usage));
}

// The least over this process's group and all above it (version 2: lines "0::/a/b"; version 1:
// "7:memory:/a/b").
int64_t groups_leave() {
  int64_t least = kUnknown;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const bool version2 = line.starts_with("0::");
    if (!version2 && line.find(":memory:") == line.npos) continue;
    const std::string root = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const char* limit = version2 ? "/memory.max" : "/memory.limit_in_bytes";
    const char* usage = version2 ? "/memory.current" : "/memory.usage_in_bytes";
    std::string group = line.substr(line.find('/'));
    while (true) {
      least = std::min(least, group_leaves(root + (group == "/" ? "" : group), limit, usage));
      if (group.size() <= 1) break;
      group.resize(std::max<size_t>(group.rfind('/'), 1));
    }
  }
  return least;
}

// One request may come as several signals at once: `timeout` signals its child and the whole group,
// a closing terminal adds a SIGHUP. A person takes longer to mean it.
constexpr int64_t kOneRequest = 300;  // milliseconds

std::atomic<bool> listening{false};  // to stop requests; until then a signal ends the process
std::atomic<bool> stop{false};

int64_t milliseconds_now() {
  struct timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

bool is_ignored(int number) {
  struct sigaction action = {};
  ::sigaction(number, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

// As if nobody had blocked it.
void die_of(int number) {
  if (is_ignored(number)) return;
  ::signal(number, SIG_DFL);
  sigset_t one;
  ::sigemptyset(&one);
  ::sigaddset(&one, number);
  ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  ::raise(number);
}

void wait_for_signals(const sigset_t& stop_signals) {
  int64_t asked_at = 0;  // milliseconds
  while (true) {
    int number = 0;
    if (::sigwait(&stop_signals, &number) != 0) continue;
    if (!listening.load()) {
      die_of(number);
    } else if (!stop.load()) {
      asked_at = milliseconds_now();
      constexpr std::string_view kMessage = "\nstopping after this step; again to stop at once\n";
      [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
      stop.store(true);
    } else if (milliseconds_now() - asked_at >= kOneRequest) {
      ::_exit(128 + number);
    }
  }
}

}  // namespace

int64_t peak_memory_bytes() {
  struct rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

int64_t available_memory_bytes() {
  const int64_t kibibytes = number_after("/proc/meminfo", "MemAvailable:", kUnknown);
  const int64_t machine = kibibytes == kUnknown ? kUnknown : kibibytes * 1024;
  const int64_t least = std::min(machine, groups_leave());
  return least == kUnknown ? 0 : least;
}

void watch_stop_signals() {
  static const bool watching = [] {
    sigset_t stop_signals;
    ::sigemptyset(&stop_signals);
    for (const int number : {SIGINT, SIGTERM}) ::sigaddset(&stop_signals, number);
    if (!is_ignored(SIGHUP)) ::sigaddset(&stop_signals, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
    std::thread([stop_signals] { wait_for_signals(stop_signals); }).detach();
    return true;
  }();
  static_cast<void>(watching);
}

void listen_for_stop() {
  watch_stop_signals();
  ::signal(SIGXFSZ, SIG_IGN);
  listening.store(true);
}

bool stop_requested() { return stop.load(); }

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

int terminal_width(int fd) {
  struct winsize size = {};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace tessera
