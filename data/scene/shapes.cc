// Distance functions, after Inigo Quilez's catalogue of formulas, and the proportions they take.
// Rule: combinations by min, so every part stays an exact or too small distance.
#include "data/scene/shapes.h"

namespace tessera::scene {
namespace {

constexpr float kStarCenter = 0.809f;  // over the two points that it stands on

// A rectangle about the origin, in the plane.
F8 box2(F8 x, F8 y, float half_width, float half_height) {
  const F8 dx = abs(x) - half_width, dy = abs(y) - half_height;
  return length(max(dx, 0.0f), max(dy, 0.0f)) + min(max(dx, dy), 0.0f);
}

// A plane figure with distance d, standing upright, `half` thick each way.
F8 extruded(F8 d, F8 z, float half) { return box2(d + 1.0f, z, 1.0f, half); }

F8 box(const P8& p, float a, float b, float c) {
  const P8 d = {abs(p.x) - a, abs(p.y) - b, abs(p.z) - c};
  return length(P8{max(d.x, 0.0f), max(d.y, 0.0f), max(d.z, 0.0f)}) +
         min(max(d.x, max(d.y, d.z)), 0.0f);
}

// Cut at both ends: from radius low at y = bottom to radius high at y = bottom + height.
F8 capped_cone(const P8& p, float bottom, float height, float low, float high) {
  const float half = 0.5f * height;
  const F8 r = length(p.x, p.z), y = p.y - (bottom + half);
  // To the nearer end, and to the slanted side; the nearer of the two counts.
  const F8 end_r = r - min(r, y < 0.0f ? all(low) : all(high)), end_y = abs(y) - half;
  const float side_r = low - high, side_y = -height;  // from the upper rim to the lower
  const F8 t =
      clamp01(((r - high) * side_r + (y - half) * side_y) / (side_r * side_r + side_y * side_y));
  const F8 slope_r = r - high - side_r * t, slope_y = y - half - side_y * t;
  const F8 d = sqrt(min(end_r * end_r + end_y * end_y, slope_r * slope_r + slope_y * slope_y));
  return (slope_r < 0.0f) & (end_y < 0.0f) ? -d : d;
}

// The greatest of the distances to four sides and the ground: a bound, exact on the faces.
F8 pyramid(const P8& p, float half, float height) {
  const float scale = 1.0f / std::sqrt(half * half + height * height);
  const F8 side = (max(abs(p.x), abs(p.z)) * height + p.y * half - half * height) * scale;
  return max(side, -p.y);
}

// Five points of outer radius 1 and inner radius `inner`: mirrored at the three axes that fold the
// star into a tenth of itself, where it is one straight edge from tip to notch.
F8 star2(F8 x, F8 y, float inner) {
  constexpr float kCos36 = 0.809016994f, kSin36 = 0.587785252f;
  x = abs(x);
  F8 over = max(kCos36 * x - kSin36 * y, 0.0f);
  x -= 2.0f * kCos36 * over;
  y += 2.0f * kSin36 * over;
  over = max(-kCos36 * x - kSin36 * y, 0.0f);
  x = abs(x + 2.0f * kCos36 * over);
  y = y + 2.0f * kSin36 * over - 1.0f;  // the tip becomes the origin
  const float edge_x = inner * kSin36, edge_y = inner * kCos36 - 1.0f;
  const F8 t = clamp01((x * edge_x + y * edge_y) / (edge_x * edge_x + edge_y * edge_y));
  const F8 d = length(x - edge_x * t, y - edge_y * t);
  return y * edge_x - x * edge_y > 0.0f ? d : -d;
}

// Walls and a gable roof seen from the front: a is half the width, b the walls' height, c the
// roof's.
F8 house2(F8 x, F8 y, float a, float b, float c) {
  const F8 walls = box2(x, y - 0.5f * b, a, 0.5f * b);
  const float eaves = a + 0.15f;
  const F8 slope = ((abs(x) - eaves) * c + (y - b) * eaves) / std::sqrt(c * c + eaves * eaves);
  return min(walls, max(slope, b - y));
}

F8 tree(const Thing& t, const P8& p) {
  const F8 trunk = capped_cone(p, 0, 0.7f, 0.16f * t.c, 0.12f * t.c);
  if (t.a < 0.5f) return min(trunk, length(p - all({0, 1.35f, 0})) - 0.75f * t.b);
  const F8 low = capped_cone(p, 0.55f, 0.9f, 0.8f * t.b, 0.15f);
  const F8 high = capped_cone(p, 1.15f, 1.0f, 0.6f * t.b, 0.02f);
  return min(trunk, min(low, high));
}

F8 mushroom(const Thing& t, const P8& p) {
  const F8 stem = capped_cone(p, 0, t.b, 0.34f * t.c, 0.24f * t.c);
  const P8 q = p - all({0, t.b - 0.05f, 0});
  return min(stem, max(length(q) - t.a, -q.y));
}

}  // namespace

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

F8 distance(const Thing& thing, const P8& p) {
  switch (thing.kind) {
    case kBall:
      return length(p - all({0, 1, 0})) - 1.0f;
    case kBox:  // with rounded edges, as the can
      return box(p - all({0, thing.b, 0}), thing.a - 0.05f, thing.b - 0.05f, thing.c - 0.05f) -
             0.05f;
    case kCan:
      return capped_cone(p, 0.04f, thing.a - 0.08f, thing.b - 0.04f, thing.b - 0.04f) - 0.04f;
    case kCone:
      return capped_cone(p, 0, thing.a, thing.b, 0.03f);
    case kRing:
      return length(length(p.x, p.y - 1.0f) - thing.a, p.z) - thing.b;
    case kPyramid:
      return pyramid(p, thing.a, thing.b);
    case kStar:
      return extruded(star2(p.x, p.y - kStarCenter, thing.a), p.z, thing.b);
    case kHouse:
      return extruded(house2(p.x, p.y, thing.a, thing.b, thing.c), p.z, 0.9f);
    case kTree:
      return tree(thing, p);
    case kMushroom:
      return mushroom(thing, p);
    case kNumKinds:
      break;
  }
  return all(1e9f);
}

P8 normal(const Thing& thing, const P8& p) {
  // From the corners of a small tetrahedron: the gradient in four distances.
  constexpr float h = 0.004f;
  auto from = [&](float x, float y, float z) { return distance(thing, p + all({x, y, z})); };
  const F8 d0 = from(h, -h, -h), d1 = from(-h, -h, h), d2 = from(-h, h, -h), d3 = from(h, h, h);
  return normalized({d0 - d1 - d2 + d3, d2 + d3 - d0 - d1 + 1e-9f, d1 + d3 - d0 - d2});
}

I8 detail_covers(const Thing& thing, const P8& p) {
  switch (thing.kind) {
    case kHouse:
      return p.y > thing.b - 0.01f;
    case kTree:
      return (p.y > 0.55f) & (length(p.x, p.z) > 0.18f * thing.c);
    case kMushroom:
      return p.y > thing.b - 0.06f;
    default:
      return I8{};
  }
}

}  // namespace tessera::scene
