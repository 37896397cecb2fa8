// Rays through a scene: what they meet first, and whether the sun is seen.
// Rule: many packets at a time (march.h says why), yet what a ray meets does not depend on the
// others.
#pragma once

#include <array>
#include <span>

#include "data/scene/compose.h"
#include "data/scene/march.h"

namespace tessera::scene {

// Pixel classes after the kinds of things (shapes.h).
enum Backdrop : uint8_t { kGround = kNumKinds, kWall, kSky, kHills };

struct Hits {
  Floats t;    // distance along the ray; any number in the sky
  Ints thing;  // index, or -1 for the backdrop
  Ints label;  // a Kind, kGround, kWall or kSky
};

// At most March::kMostPackets in a call; results stay until the next.
class Tracer {
 public:
  explicit Tracer(const Scene& scene) : scene_(scene) {}

  // Of rays from the camera, `along` unit vectors.
  std::span<const Hits> nearest_hits(std::span<const Points> along);

  // How much of the sun is seen from each point, 0..1: the closer a ray passes by a thing, the
  // darker. Only lanes in `wanted` mean anything.
  std::span<const Floats> sunlight(std::span<const Points> points, std::span<const Ints> wanted);

 private:
  const Scene& scene_;
  March march_;
  std::array<Hits, March::kMostPackets> hits_;
  std::array<Floats, March::kMostPackets> light_;
};

}  // namespace tessera::scene
