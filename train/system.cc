// Questions to the kernel: /proc, control groups, terminals; the stop signals.
// Rule: the signal handler touches one lock-free flag and write(2), nothing else.
#include "train/system.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>

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

std::atomic<bool> stop{false};
std::atomic<int64_t> stop_time{0};  // milliseconds, of the first signal
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "the handler may touch nothing else");

int64_t milliseconds_now() {
  struct timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // safe in a handler
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void on_stop_signal(int number) {
  const int64_t now = milliseconds_now();
  if (stop.exchange(true)) {
    if (now - stop_time.load() >= kOneRequest) ::_exit(128 + number);
    return;
  }
  stop_time.store(now);
  const int kept_errno = errno;
  constexpr std::string_view kMessage = "\nstopping after this step; again to stop at once\n";
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
  errno = kept_errno;
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

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;  // reads and writes in progress go on
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  struct sigaction hang_up = {};
  ::sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);
  ::signal(SIGXFSZ, SIG_IGN);
}

bool stop_requested() { return stop.load(); }

void clear_stop_request() { stop.store(false); }

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

int terminal_width(int fd) {
  struct winsize size = {};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace tessera
