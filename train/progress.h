// What a waiting person sees: a bar on a terminal, a line now and then elsewhere, or each record as
// JSON on stdout.
// Rule: messages go to stderr, results and JSON records to stdout. The figures (rate, time left)
// are pure functions of the times handed in, so that they can be tested without waiting.
#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <string_view>

#include "train/metrics.h"

namespace tessera {

// "under 1 s", "12 s", "4 min 10 s", "1 h 03 min", "2 d 05 h". Not finite or negative: "?".
std::string format_duration(double seconds);

// Speed and time left from the moments at which steps ended.
// The rate is the median over the last 64 steps: a pause (evaluation, checkpoint) does not bend it.
// The time left adds the share that pauses have taken so far.
class RateMeter {
 public:
  RateMeter(int64_t done, int64_t total) : step_(done), total_(total) {}

  // `step` steps are finished at time `now` (seconds, any origin). The first call only starts the
  // clock: what came before it (the first step, with its allocations) is not typical.
  void tick(int64_t step, double now);

  double steps_per_second() const;  // 0 before the second tick
  double seconds_left() const;      // infinity before the second tick

 private:
  double median_step() const;  // seconds; 0 when unknown

  int64_t step_, total_;
  double last_ = -1;
  std::deque<double> window_;     // seconds a step
  double busy_ = 0, paused_ = 0;  // seconds
};

struct ProgressState {
  int64_t step = 0, total = 0;
  double loss = 0;
  double images_per_second = 0;  // 0: unknown
  double seconds_left = 0;       // not finite: unknown
};

// One line of at most `width` columns, without a line end. What does not fit is left out: first the
// bar, then the rate, then the time left, then the loss.
std::string progress_bar(const ProgressState& state, int width);

// The same figures as a plain line for a log.
std::string progress_line(const ProgressState& state);

class Progress {
 public:
  enum class Mode { kBar, kLines, kJson };

  // kJson if records are asked for on stdout, else kBar when stderr is a terminal.
  static Mode choose_mode(bool log_json);

  // done: steps finished before this start. messages and records are stderr and stdout but in
  // tests.
  Progress(Mode mode, int64_t done, int64_t total, int64_t images_per_step,
           std::FILE* messages = stderr, std::FILE* records = stdout);

  // After every step. `now`: seconds of a steady clock; the overload without reads it.
  void step(int64_t step, double loss, double now);
  void step(int64_t step, double loss);

  // A logged record: in mode kJson one line on `records`, at once; else nothing.
  void record(const MetricRecord& record);

  // A line of text among the messages; a bar is drawn anew below it.
  void say(std::string_view line);

  // Ends the bar's line. Called by the destructor as well.
  void finish();
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  double images_per_second() const { return meter_.steps_per_second() * images_per_step_; }
  double seconds_left() const { return meter_.seconds_left(); }

 private:
  void draw();

  Mode mode_;
  RateMeter meter_;
  double images_per_step_;
  std::FILE* messages_;
  std::FILE* records_;
  ProgressState state_;
  bool drawn_ = false;  // a bar stands on the current line
  double first_ = -1;   // time of the first step
  double next_ = 0;     // time of the next bar or line
  int64_t steps_seen_ = 0;
};

}  // namespace tessera
