// Where a step's time goes: how often each op ran, how long, and how much it moved and multiplied.
// Rule: an op's time is its own, without that of the ops it ran in turn. Times are the host's: on a
// device that computes behind the host's back they are those of the launches.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace tessera {

class Profile final : public OpObserver {
 public:
  // Watches from now on, until it is destroyed. One at a time.
  Profile();
  ~Profile() override;
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  struct Row {
    std::string name;  // "linear", "linear backward", "adamw"
    int64_t calls = 0;
    double seconds = 0;
    double bytes = 0;  // of all inputs and outputs
    double flops = 0;  // of products and attention, 2 a multiply-add
  };
  // The longest first.
  std::vector<Row> rows() const;

  // A table for people: per step, with shares of the whole time since the start. `peak_flops`, in
  // FLOP/s, is what products are measured by; 0: not known.
  std::string table(int64_t steps, double peak_flops = 0) const;
  // The events for chrome://tracing and Perfetto: one JSON object.
  std::string chrome_trace() const;

  void before(const OpRun& run) override;
  void after(const OpRun& run) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Running {
    std::string name;
    Clock::time_point start;
    double inside = 0;  // seconds of the ops it ran
    double bytes = 0, flops = 0;
  };
  struct Event {
    std::string name;
    double start, seconds;  // since the profile began
  };

  Clock::time_point start_;
  std::vector<Running> running_;
  std::map<std::string, Row> rows_;
  std::vector<Event> events_;
};

}  // namespace tessera
