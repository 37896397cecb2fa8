// The time left comes from train/progress.h.
#include "train/work_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <utility>

#include "train/system.h"

namespace tessera {
namespace {

constexpr double kRedraw = 0.1;  // seconds between two lines on a terminal
constexpr double kQuiet = 15;    // and elsewhere

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

WorkProgress::WorkProgress(std::string what, int64_t total)
    : what_(std::move(what)),
      total_(total),
      meter_(0, total),
      terminal_(is_terminal(STDERR_FILENO)),
      next_(now() + (terminal_ ? kRedraw : kQuiet)) {}

WorkProgress::~WorkProgress() {
  if (terminal_) std::fputs("\r\x1b[K", stderr);
}

void WorkProgress::operator()(int64_t done) {
  const double time = now();
  meter_.tick(done, time);
  if (time < next_) return;
  next_ = time + (terminal_ ? kRedraw : kQuiet);
  std::string line = fmt::format("{} of {} {}", done, total_, what_);
  const double left = meter_.seconds_left();
  if (done < total_ && std::isfinite(left)) line += ", " + format_duration(left) + " left";
  std::fputs((terminal_ ? "\r" + line + "\x1b[K" : line + "\n").c_str(), stderr);
}

}  // namespace tessera
