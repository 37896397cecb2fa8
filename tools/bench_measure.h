// The clocks of every `tessera bench` command. What is held against them is in train/limits.h.
// Rule: the host's calls are timed one by one, by the clock on the wall; a device's in rows, by its
// own clock, since queueing one takes 10 to 20 us and many kernels last less.
#pragma once

#include <functional>
#include <vector>

#include "engine/device.h"

namespace tessera {

// Wall-clock time of one call, and of what it started on any device.
double seconds_of(const std::function<void()>& work);

// The middle value; of an even count the upper of the two in the middle. 0 of nothing.
double median(std::vector<double> values);

// How many calls make a row of about two milliseconds on a device, 1 to 500, found by calling it
// twice; on the CPU 1, without a call.
int calls_in_a_row(Device device, const std::function<void()>& work);

// Median seconds of a call of each work. They run in turn, so that whoever else uses the machine
// hits all of them alike: once without counting, then until the slowest has had `budget` seconds,
// three times at least. On a device once is `calls` calls in a row between two Moments, with the
// host ahead of them; so a work that shall not find its operands in a cache takes others each call.
std::vector<double> medians_in_turn(const std::vector<std::function<void()>>& works, double budget,
                                    Device device = Device::kCpu, int calls = 1);

}  // namespace tessera
