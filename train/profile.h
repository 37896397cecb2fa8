// Where a step's time goes: how often each op ran, how long, and how much it moved and multiplied.
// Rule: an op's time is its own, without that of the ops it ran in turn, by the clock of the device
// that it ran on (Moment in engine/backend.h); nothing waits for the device before it is asked for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "engine/backend.h"
#include "train/limits.h"

namespace tessera {

class Profile final : public OpObserver {
 public:
  // Watches what runs on the device from now on, until it is destroyed. One at a time.
  explicit Profile(Device device);
  ~Profile() override;
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  struct Row {
    std::string name;  // "linear", "linear backward", "adamw"
    int64_t calls = 0;
    double seconds = 0;
    double bytes = 0;  // of all inputs and outputs
    double flops = 0;  // of products, convolutions and attention, 2 a multiply-add
  };
  // The longest first.
  std::vector<Row> rows() const;

  // A table for people: calls, time, bytes and FLOP per step, with shares of the time to the last
  // op's end, and of the limit: of a large product's speed for what multiplies, of a large copy's
  // for everything else.
  std::string table(int64_t steps, const Limits& limits) const;
  // The events for chrome://tracing and Perfetto: one JSON object. Each has its bytes, and its flop
  // where they are known of this one run: forward.
  std::string chrome_trace() const;

  void before(const OpRun& run) override;
  void after(const OpRun& run) override;

 private:
  struct Event {
    std::string name;
    std::unique_ptr<Moment> start, end;  // end: nullptr while it runs
    int64_t parent = -1;                 // the event it ran in
    double bytes = 0, flops = 0;
  };
  double seconds_of(const Event& event) const { return event.end->seconds_since(*event.start); }

  Backend& backend_;
  std::unique_ptr<Moment> start_;
  std::vector<Event> events_;
  std::vector<size_t> running_;
};

}  // namespace tessera
