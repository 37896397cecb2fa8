// The clocks of every `tessera bench` command. What is held against them is in train/limits.h.
#pragma once

#include <functional>
#include <vector>

namespace tessera {

// Wall-clock time of one call, and of what it started on any device.
double seconds_of(const std::function<void()>& work);

// The middle value; of an even count the upper of the two in the middle. 0 of nothing.
double median(std::vector<double> values);

// Median seconds of each work. They run in turn, so that whoever else uses the machine hits all of
// them alike: once without counting, then until the slowest has had `budget` seconds, three times
// at least.
std::vector<double> medians_in_turn(const std::vector<std::function<void()>>& works, double budget);

}  // namespace tessera
