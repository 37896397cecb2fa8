// How far points are from a thing: distance functions after Inigo Quilez's catalogue of formulas,
// one for each kind. Rule: never more than the true distance, so a ray may step by it; combinations
// by min, so every part stays an exact or too small distance. All in the thing's own units;
// negative inside.
#pragma once

#include <type_traits>

#include "data/scene/shapes.h"

namespace tessera::scene {

inline constexpr float kStarCenter = 0.809f;  // over the two points that it stands on

// A rectangle about the origin, in the plane.
inline Floats box2(Floats x, Floats y, float half_width, float half_height) {
  const Floats dx = abs(x) - half_width, dy = abs(y) - half_height;
  return length(max(dx, 0.0f), max(dy, 0.0f)) + min(max(dx, dy), 0.0f);
}

// A plane figure with distance d, standing upright, `half` thick each way.
inline Floats extruded(Floats d, Floats z, float half) { return box2(d + 1.0f, z, 1.0f, half); }

inline Floats box(const Points& p, float a, float b, float c) {
  const Points d = {abs(p.x) - a, abs(p.y) - b, abs(p.z) - c};
  return length(Points{max(d.x, 0.0f), max(d.y, 0.0f), max(d.z, 0.0f)}) +
         min(max(d.x, max(d.y, d.z)), 0.0f);
}

// Cut at both ends: from radius low at y = bottom to radius high at y = bottom + height.
inline Floats capped_cone(const Points& p, float bottom, float height, float low, float high) {
  const float half = 0.5f * height;
  const Floats r = length(p.x, p.z), y = p.y - (bottom + half);
  // To the nearer end, and to the slanted side; the nearer of the two counts.
  const Floats end_r = r - min(r, select(y < 0.0f, Floats(low), Floats(high))),
               end_y = abs(y) - half;
  const float side_r = low - high, side_y = -height;  // from the upper rim to the lower
  const Floats t =
      clamp01(((r - high) * side_r + (y - half) * side_y) / (side_r * side_r + side_y * side_y));
  const Floats slope_r = r - high - side_r * t, slope_y = y - half - side_y * t;
  const Floats d = sqrt(min(end_r * end_r + end_y * end_y, slope_r * slope_r + slope_y * slope_y));
  return select((slope_r < 0.0f) & (end_y < 0.0f), -d, d);
}

// The greatest of the distances to four sides and the ground: a bound, exact on the faces.
inline Floats pyramid(const Points& p, float half, float height) {
  const float scale = 1.0f / std::sqrt(half * half + height * height);
  const Floats side = (max(abs(p.x), abs(p.z)) * height + p.y * half - half * height) * scale;
  return max(side, -p.y);
}

// Five points of outer radius 1 and inner radius `inner`: mirrored at the three axes that fold the
// star into a tenth of itself, where it is one straight edge from tip to notch.
inline Floats star2(Floats x, Floats y, float inner) {
  constexpr float kCos36 = 0.809016994f, kSin36 = 0.587785252f;
  x = abs(x);
  Floats over = max(kCos36 * x - kSin36 * y, 0.0f);
  x -= 2.0f * kCos36 * over;
  y += 2.0f * kSin36 * over;
  over = max(-kCos36 * x - kSin36 * y, 0.0f);
  x = abs(x + 2.0f * kCos36 * over);
  y = y + 2.0f * kSin36 * over - 1.0f;  // the tip becomes the origin
  const float edge_x = inner * kSin36, edge_y = inner * kCos36 - 1.0f;
  const Floats t = clamp01((x * edge_x + y * edge_y) / (edge_x * edge_x + edge_y * edge_y));
  const Floats d = length(x - edge_x * t, y - edge_y * t);
  return select(y * edge_x - x * edge_y > 0.0f, d, -d);
}

// Walls and a gable roof seen from the front: a is half the width, b the walls' height, c the
// roof's.
inline Floats house2(Floats x, Floats y, float a, float b, float c) {
  const Floats walls = box2(x, y - 0.5f * b, a, 0.5f * b);
  const float eaves = a + 0.15f;
  const Floats slope = ((abs(x) - eaves) * c + (y - b) * eaves) / std::sqrt(c * c + eaves * eaves);
  return min(walls, max(slope, b - y));
}

inline Floats tree(const Thing& t, const Points& p) {
  const Floats trunk = capped_cone(p, 0, 0.7f, 0.16f * t.c, 0.12f * t.c);
  if (t.a < 0.5f) return min(trunk, length(p - Vec3{0, 1.35f, 0}) - 0.75f * t.b);
  const Floats low = capped_cone(p, 0.55f, 0.9f, 0.8f * t.b, 0.15f);
  const Floats high = capped_cone(p, 1.15f, 1.0f, 0.6f * t.b, 0.02f);
  return min(trunk, min(low, high));
}

inline Floats mushroom(const Thing& t, const Points& p) {
  const Floats stem = capped_cone(p, 0, t.b, 0.34f * t.c, 0.24f * t.c);
  const Points q = p - Vec3{0, t.b - 0.05f, 0};
  return min(stem, max(length(q) - t.a, -q.y));
}

template <Kind kind>
Floats distance(const Thing& thing, const Points& p) {
  switch (kind) {
    case kBall:
      return length(p - Vec3{0, 1, 0}) - 1.0f;
    case kBox:  // with rounded edges, as the can
      return box(p - Vec3{0, thing.b, 0}, thing.a - 0.05f, thing.b - 0.05f, thing.c - 0.05f) -
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
  return 1e9f;
}

// work(kind) with the thing's kind as a constant: a loop over distance<kind>() inside it is
// compiled for that shape alone.
template <class Work>
auto with_kind(const Thing& thing, const Work& work) {
  switch (thing.kind) {
    case kBall:
      return work(std::integral_constant<Kind, kBall>());
    case kBox:
      return work(std::integral_constant<Kind, kBox>());
    case kCan:
      return work(std::integral_constant<Kind, kCan>());
    case kCone:
      return work(std::integral_constant<Kind, kCone>());
    case kRing:
      return work(std::integral_constant<Kind, kRing>());
    case kPyramid:
      return work(std::integral_constant<Kind, kPyramid>());
    case kStar:
      return work(std::integral_constant<Kind, kStar>());
    case kHouse:
      return work(std::integral_constant<Kind, kHouse>());
    case kTree:
      return work(std::integral_constant<Kind, kTree>());
    case kMushroom:
    case kNumKinds:
      break;
  }
  return work(std::integral_constant<Kind, kMushroom>());
}

}  // namespace tessera::scene
