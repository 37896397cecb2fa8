// Rates, the bar and the plain line.
// Rule: the tuned constants stand at the top; drawing goes through draw() alone.
#include "train/progress.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/error.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr size_t kWindow = 64;      // steps
constexpr double kPause = 4;        // a step this many medians long is a pause
constexpr double kRedraw = 0.1;     // seconds between two bars
constexpr int64_t kFirstLine = 10;  // steps before the first line: then the rate is known
constexpr double kMinQuiet = 15;    // seconds between two lines: a tenth of the time gone,
constexpr double kMaxQuiet = 300;   // within these
constexpr size_t kMinBar = 10, kMaxBar = 30;  // columns

// A terminal that has gone away must not end the run, as fmt::print's exception would.
void put(std::FILE* file, const std::string& text) { std::fputs(text.c_str(), file); }

std::string rate_text(const ProgressState& state) {
  const double rate = state.images_per_second;
  return rate > 0 ? fmt::format("{:.{}f} images/s", rate, rate < 10 ? 2 : 0) : "";
}

std::string left_text(const ProgressState& state) {
  const bool known = state.step < state.total && std::isfinite(state.seconds_left);
  return known ? format_duration(state.seconds_left) + " left" : "";
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) return "?";
  if (seconds < 1) return "under 1 s";
  const int64_t s = std::llround(seconds), min = s / 60, h = min / 60, d = h / 24;
  if (min == 0) return fmt::format("{} s", s);
  if (h == 0) return fmt::format("{} min {:02} s", min, s % 60);
  if (d == 0) return fmt::format("{} h {:02} min", h, min % 60);
  return fmt::format("{} d {:02} h", d, h % 24);
}

void RateMeter::tick(int64_t step, double now) {
  if (last_ >= 0 && step > step_) {
    const double taken = std::max(now - last_, 1e-9);
    const double typical = median_step() * static_cast<double>(step - step_);
    const double pause = typical > 0 && taken > kPause * typical ? taken - typical : 0;
    paused_ += pause;
    busy_ += taken - pause;
    window_.push_back(taken / static_cast<double>(step - step_));
    if (window_.size() > kWindow) window_.pop_front();
  }
  last_ = now;
  step_ = step;
}

double RateMeter::median_step() const {
  if (window_.empty()) return 0;
  std::vector<double> sorted(window_.begin(), window_.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

double RateMeter::steps_per_second() const {
  const double step = median_step();
  return step > 0 ? 1 / step : 0;
}

double RateMeter::seconds_left() const {
  const double step = median_step();
  if (step <= 0) return std::numeric_limits<double>::infinity();
  return static_cast<double>(total_ - step_) * step * (1 + paused_ / busy_);
}

std::string progress_bar(const ProgressState& state, int width) {
  const size_t columns = static_cast<size_t>(std::max(width, 0));
  const double share =
      state.total > 0 ? static_cast<double>(state.step) / static_cast<double>(state.total) : 0;
  const std::string head =
      fmt::format("step {}/{}  {:3.0f} %", state.step, state.total, std::floor(share * 100));
  // In the order of their worth: the last that does not fit is the first to go.
  std::string line = head;
  for (const std::string& part :
       {fmt::format("loss {:.4f}", state.loss), left_text(state), rate_text(state)}) {
    if (part.empty()) continue;
    if (line.size() + 2 + part.size() > columns) break;
    line += "  " + part;
  }
  if (line.size() > columns) return line.substr(0, columns);
  const size_t rest = columns - line.size();
  if (rest < kMinBar + 4) return line;  // two brackets, two blanks
  const size_t cells = std::min(rest - 4, kMaxBar);
  const size_t full = std::min(cells, static_cast<size_t>(share * static_cast<double>(cells)));
  return head + "  [" + std::string(full, '#') + std::string(cells - full, '.') + "]" +
         line.substr(head.size());
}

std::string progress_line(const ProgressState& state) {
  std::string line = fmt::format("step {}/{}  loss {:.4f}", state.step, state.total, state.loss);
  for (const std::string& part : {rate_text(state), left_text(state)}) {
    if (!part.empty()) line += "  " + part;
  }
  return line;
}

Progress::Mode Progress::choose_mode(bool log_json) {
  if (log_json) return Mode::kJson;
  return is_terminal(STDERR_FILENO) ? Mode::kBar : Mode::kLines;
}

Progress::Progress(Mode mode, int64_t done, int64_t total, int64_t images_per_step,
                   std::FILE* messages, std::FILE* records)
    : mode_(mode),
      meter_(done, total),
      images_per_step_(static_cast<double>(images_per_step)),
      messages_(messages),
      records_(records) {
  state_.step = done;
  state_.total = total;
}

void Progress::step(int64_t step, double loss, double now) {
  meter_.tick(step, now);
  state_ = {step, state_.total, loss, images_per_second(), seconds_left()};
  if (first_ < 0) {
    first_ = now;
    next_ = mode_ == Mode::kLines ? now + kMinQuiet : now;
  }
  const bool rate_known = mode_ == Mode::kLines && ++steps_seen_ == kFirstLine;
  const bool due = now >= next_ || rate_known || step >= state_.total;
  if (mode_ == Mode::kJson || !due) return;
  draw();
  next_ =
      now + (mode_ == Mode::kBar ? kRedraw : std::clamp((now - first_) / 10, kMinQuiet, kMaxQuiet));
}

void Progress::step(int64_t step, double loss) {
  const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
  this->step(step, loss, now.count());
}

void Progress::record(const MetricRecord& record) {
  if (mode_ != Mode::kJson) return;
  fmt::print(records_, "{}\n", to_json(record));
  std::fflush(records_);
}

void Progress::say(std::string_view line) {
  const bool redraw = drawn_;
  put(messages_, fmt::format("{}{}\n", drawn_ ? "\r\x1b[K" : "", line));
  if (redraw) draw();
  std::fflush(messages_);
}

void Progress::finish() {
  if (!drawn_) return;
  std::fputc('\n', messages_);
  std::fflush(messages_);
  drawn_ = false;
}

void Progress::draw() {
  if (mode_ == Mode::kBar) {
    // The last column stays free: some terminals wrap as soon as it is filled.
    const int width = terminal_width(::fileno(messages_)) - 1;
    put(messages_, fmt::format("\r{}\x1b[K", progress_bar(state_, width)));
    drawn_ = true;
  } else {
    put(messages_, progress_line(state_) + '\n');
  }
  std::fflush(messages_);
}

}  // namespace tessera
