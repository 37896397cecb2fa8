// The ten kinds of things, standing on the ground at y = 0; distance.h has their shapes.
// Rule: a thing fits its bounding ball. Lengths are in the thing's own units: about 2 high, 2 wide.
#pragma once

#include <cstdint>

#include "data/scene/texture.h"

namespace tessera::scene {

enum Kind : uint8_t {
  kBall,
  kBox,
  kCan,
  kCone,
  kRing,
  kPyramid,
  kStar,
  kHouse,
  kTree,
  kMushroom,
  kNumKinds,
};
inline constexpr const char* kKindNames[kNumKinds] = {
    "ball", "box", "can", "cone", "ring", "pyramid", "star", "house", "tree", "mushroom"};

struct Thing {
  Kind kind = kBall;
  Vec3 position;  // of the point on the ground that it stands on
  float scale = 1;
  float cosine = 1, sine = 0;    // of its turn about the vertical axis
  float a = 1, b = 1, c = 1;     // proportions; what they mean depends on the kind
  float center = 1, radius = 1;  // bounding ball about (0, center, 0)
  Texture body, detail;          // detail: roof, crown, cap
  float gloss = 0;

  Points to_local(const Points& p) const {
    return turned((p - position) * (1.0f / scale), cosine, sine);
  }
  Points direction_to_local(const Points& d) const { return turned(d, cosine, sine); }
  Points direction_to_world(const Points& d) const { return turned(d, cosine, -sine); }
};

// Proportions a, b, c from three numbers in [0, 1), and the bounding ball they give.
void set_proportions(Thing& thing, float u, float v, float w);

// The outward directions at points of the surface.
Points normal(const Thing& thing, const Points& p);
// Where `detail` covers the surface instead of `body`.
Ints detail_covers(const Thing& thing, const Points& p);

}  // namespace tessera::scene
