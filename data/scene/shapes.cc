// The proportions that things take, and what follows from their distance functions.
#include "data/scene/shapes.h"

#include "data/scene/distance.h"

namespace tessera::scene {

void set_proportions(Thing& thing, float u, float v, float w) {
  float high = 2.0f, wide = 1.0f;  // height, and radius about the axis
  thing.a = thing.b = thing.c = 1.0f;
  switch (thing.kind) {
    case kBall:
      break;
    case kBox:
      thing.a = mix(0.55f, 1.0f, u), thing.b = mix(0.4f, 1.0f, v), thing.c = mix(0.5f, 1.0f, w);
      high = 2 * thing.b, wide = std::hypot(thing.a, thing.c);
      break;
    case kCan:
      thing.a = mix(1.2f, 2.3f, u), thing.b = mix(0.5f, 0.85f, v);
      high = thing.a, wide = thing.b;
      break;
    case kCone:
      thing.a = mix(1.6f, 2.4f, u), thing.b = mix(0.65f, 1.0f, v);
      high = thing.a, wide = thing.b;
      break;
    case kRing:  // a: radius of the circle, b: of the tube
      thing.b = mix(0.18f, 0.36f, u), thing.a = 1.0f - thing.b;
      break;
    case kPyramid:
      thing.a = mix(0.75f, 1.05f, u), thing.b = mix(1.2f, 1.9f, v);
      high = thing.b, wide = 1.4143f * thing.a;
      break;
    case kStar:  // a: inner radius, b: half the thickness; it stands on two points
      thing.a = mix(0.42f, 0.55f, u), thing.b = mix(0.15f, 0.3f, v);
      high = 1.81f, wide = 1.0f;
      break;
    case kHouse:
      thing.a = mix(0.6f, 0.9f, u), thing.b = mix(0.8f, 1.2f, v), thing.c = mix(0.5f, 0.9f, w);
      high = thing.b + thing.c, wide = std::hypot(thing.a + 0.15f, 1.0f);
      break;
    case kTree:
      thing.a = u, thing.b = mix(0.85f, 1.1f, v), thing.c = mix(0.8f, 1.4f, w);
      high = 2.2f, wide = 0.9f;
      break;
    case kMushroom:  // a: radius of the cap, b: height of the stem
      thing.a = mix(0.7f, 1.0f, u), thing.b = mix(0.7f, 1.2f, v), thing.c = mix(0.8f, 1.4f, w);
      high = thing.a + thing.b, wide = thing.a;
      break;
    case kNumKinds:
      break;
  }
  thing.center = 0.5f * high;
  const bool round = thing.kind == kBall || thing.kind == kRing;
  const bool star = thing.kind == kStar;
  thing.radius = round ? 1.0f : star ? std::hypot(1.02f, thing.b) : std::hypot(0.5f * high, wide);
  if (star) thing.center = kStarCenter;
}

Points normal(const Thing& thing, const Points& p) {
  // From the corners of a small tetrahedron: the gradient in four distances.
  constexpr float h = 0.004f;
  return with_kind(thing, [&](auto kind) {
    auto from = [&](float x, float y, float z) { return distance<kind>(thing, p + Vec3{x, y, z}); };
    const Floats d0 = from(h, -h, -h), d1 = from(-h, -h, h), d2 = from(-h, h, -h),
                 d3 = from(h, h, h);
    return normalized({d0 - d1 - d2 + d3, d2 + d3 - d0 - d1 + 1e-9f, d1 + d3 - d0 - d2});
  });
}

Ints detail_covers(const Thing& thing, const Points& p) {
  switch (thing.kind) {
    case kHouse:
      return p.y > thing.b - 0.01f;
    case kTree:
      return (p.y > 0.55f) & (length(p.x, p.z) > 0.18f * thing.c);
    case kMushroom:
      return p.y > thing.b - 0.06f;
    default:
      return Ints{};
  }
}

}  // namespace tessera::scene
