// Packets of rays on their way through one thing, by steps of its distance function.
// Rule: every packet takes a step before any takes its next. A step is one long chain of operations
// that wait for one another; the steps of several packets overlap.
#pragma once

#include <array>
#include <span>

#include "data/scene/distance.h"

namespace tessera::scene {

struct Rays {
  Points from, along;  // along are unit vectors
};

class March {
 public:
  static constexpr size_t kMostPackets = 32;

  // In the thing's own units: lanes in `going` are at t and go on as long as it is less than
  // `leave`. `value` is what they carry; `number` is the caller's.
  struct Packet {
    Rays rays;
    Floats t, leave, value;
    Ints going;
    size_t number;
  };

  void clear() { count_ = 0; }
  void add(const Rays& rays, Floats t, Floats leave, Floats value, Ints going, size_t number) {
    Packet& p = packets_[count_++];
    p.rays = rays;
    p.t = t;
    p.leave = leave;
    p.value = value;
    p.going = going;
    p.number = number;
  }
  std::span<const Packet> packets() const { return {packets_.data(), count_}; }

  // advance(distances, packet) is one step of the lanes that are going: it changes t, value and
  // going.
  template <class Advance>
  void run(const Thing& thing, int most_steps, const Advance& advance) {
    std::array<Packet*, kMostPackets> active;
    size_t left = count_;
    for (size_t k = 0; k < left; ++k) active[k] = &packets_[k];
    with_kind(thing, [&](auto kind) {
      for (int step = 0; step < most_steps && left > 0; ++step) {
        size_t kept = 0;
        for (size_t k = 0; k < left; ++k) {
          Packet* packet = active[k];
          const Rays& rays = packet->rays;
          advance(distance<kind>(thing, rays.from + rays.along * packet->t), packet);
          active[kept] = packet;
          kept += any(packet->going);
        }
        left = kept;
      }
    });
  }

 private:
  std::array<Packet, kMostPackets> packets_;
  size_t count_ = 0;
};

}  // namespace tessera::scene
