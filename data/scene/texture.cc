// The patterns: each is a number in [0, 1] that mixes two colours.
// Rule: a periodic pattern fades to its mean as its period nears the sample's width.
#include "data/scene/texture.h"

#include "data/scene/noise.h"

namespace tessera::scene {
namespace {

// 1 where a pattern is well resolved, 0 where a sample covers most of a period.
Floats resolved(Floats width) { return 1.0f - smoothstep(0.25f, 0.75f, width); }

// A square wave of period 1 in [-1, 1] whose edges are as wide as the sample.
Floats square_wave(Floats x, Floats width) {
  const Floats triangle = 4.0f * abs(fraction(x) - 0.5f) - 1.0f;  // 1 at whole x, -1 between
  const Floats edge = max(4.0f * width, 0.05f);
  return min(max(triangle / edge, -1.0f), 1.0f) * resolved(width);
}

// A round wave of period 1 in [0, 1].
Floats round_wave(Floats x) {
  const Floats t = abs(2.0f * fraction(x) - 1.0f);
  return t * t * (3.0f - 2.0f * t);
}

Floats dots(const Points& q, Floats width) {
  const Floats edge = max(width, 0.04f);
  const Floats from_center = length(fraction(q.x) - 0.5f, fraction(q.y) - 0.5f);
  const Floats dot = 1.0f - smoothstep(0.28f - edge, 0.28f + edge, from_center);
  return mix(0.25f, dot, resolved(width));  // a dot covers a quarter of its cell
}

Floats wood(const Points& q, Floats width, uint32_t seed) {
  const Points along = {q.x * 0.4f, q.y * 0.4f, q.z * 0.08f};
  const Floats ring =
      fraction(length(q.x, q.y) + 2.0f * fractal_noise(along, 2, width * 0.4f, seed));
  const Floats fiber = value_noise({q.x * 6.0f, q.y * 6.0f, q.z * 0.5f}, seed + 7);
  const Floats grain = ring * ring * (1.0f - smoothstep(0.9f, 1.0f, ring));
  return clamp01(mix(0.3f, grain, resolved(width)) +
                 0.3f * resolved(6.0f * width) * (fiber - 0.5f));
}

Floats marble(const Points& q, Floats width, uint32_t seed) {
  const Floats turbulence = fractal_noise(q * 0.8f, 4, width, seed) - 0.5f;
  return mix(0.5f, round_wave(0.5f * q.x + 2.2f * turbulence), resolved(width));
}

struct Bricks {
  Floats mortar;  // 1 in the joints
  Floats shade;   // each brick's own, in [0, 1]
};

// Rows of height 1, bricks `longer` times as long, every second row shifted by half.
Bricks bricks(const Points& q, float longer, float joint, Floats width, uint32_t seed) {
  const Floats row = floor(q.y);
  const Floats along = q.x / longer + fraction(0.5f * row);
  const Floats column = floor(along);
  const Floats du = (0.5f - abs(along - column - 0.5f)) * longer;
  const Floats dv = 0.5f - abs(q.y - row - 0.5f);
  const Floats edge = joint + max(width, 0.03f);
  const Floats mortar = 1.0f - smoothstep(0.0f, 1.0f, (min(du, dv) - 0.5f * joint) / edge + 0.5f);
  const Floats shade =
      hash24(corner(column, 0x8da6b343u) ^ corner(row, 0xd8163841u) ^ seed) * kHashScale;
  return {mortar * resolved(width), mix(0.5f, shade, resolved(0.5f * width))};
}

}  // namespace

Points texture_color(const Texture& texture, const Points& p, Floats footprint) {
  const Points q =
      Points{dot(p, texture.u), dot(p, texture.v), dot(p, texture.w)} * texture.frequency;
  const Floats width = footprint * texture.frequency;
  Floats t = {};
  switch (texture.pattern) {
    case Pattern::kPlain:
      break;
    case Pattern::kStripes:
      t = 0.5f + 0.5f * square_wave(q.x, width);
      break;
    case Pattern::kChecks:  // a little off the planes through the origin, where shapes have faces
      t = 0.5f + 0.5f * square_wave(q.x + 0.13f, width) * square_wave(q.y + 0.17f, width) *
                     square_wave(0.5f * q.z + 0.11f, 0.0f);
      break;
    case Pattern::kDots:
      t = dots(q, width);
      break;
    case Pattern::kWood:
      t = wood(q, width, texture.seed);
      break;
    case Pattern::kMarble:
      t = marble(q, width, texture.seed);
      break;
    case Pattern::kSpeckle:
      t = clamp01(0.5f + 2.0f * (fractal_noise(q, 4, width, texture.seed) - 0.5f));
      break;
    case Pattern::kBricks: {
      const Bricks b = bricks(q, 2.2f, 0.1f, width, texture.seed);
      t = mix(0.35f * b.shade, 1.0f, b.mortar);
      break;
    }
    case Pattern::kPlanks: {
      const Bricks b = bricks(q, 7.0f, 0.02f, width, texture.seed);
      const Floats fiber = value_noise({q.x * 0.7f, q.y * 6.0f, 9.0f * b.shade}, texture.seed + 3);
      t = clamp01(0.6f * b.shade + 0.35f * fiber * resolved(6.0f * width) + 0.6f * b.mortar);
      break;
    }
  }
  const Points color = mix(texture.first, texture.second, t);
  const Floats cloud = fractal_noise(p * 1.7f, 3, 1.7f * footprint, texture.seed + 11) - 0.5f;
  return color * (1.0f + 2.0f * texture.mottle * cloud);
}

}  // namespace tessera::scene
