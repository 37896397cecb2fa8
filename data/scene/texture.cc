// The patterns: each is a number in [0, 1] that mixes two colours.
// Rule: a periodic pattern fades to its mean as its period nears the sample's width.
#include "data/scene/texture.h"

#include "data/scene/noise.h"

namespace tessera::scene {
namespace {

// 1 where a pattern is well resolved, 0 where a sample covers most of a period.
F8 resolved(F8 width) { return 1.0f - smoothstep(all(0.25f), all(0.75f), width); }

// A square wave of period 1 in [-1, 1] whose edges are as wide as the sample.
F8 square_wave(F8 x, F8 width) {
  const F8 triangle = 4.0f * abs(fraction(x) - 0.5f) - 1.0f;  // 1 at whole x, -1 between
  const F8 edge = max(4.0f * width, 0.05f);
  return min(max(triangle / edge, -1.0f), 1.0f) * resolved(width);
}

// A round wave of period 1 in [0, 1].
F8 round_wave(F8 x) {
  const F8 t = abs(2.0f * fraction(x) - 1.0f);
  return t * t * (3.0f - 2.0f * t);
}

F8 dots(const P8& q, F8 width) {
  const F8 edge = max(width, 0.04f);
  const F8 from_center = length(fraction(q.x) - 0.5f, fraction(q.y) - 0.5f);
  const F8 dot = 1.0f - smoothstep(0.28f - edge, 0.28f + edge, from_center);
  return mix(all(0.25f), dot, resolved(width));  // a dot covers a quarter of its cell
}

F8 wood(const P8& q, F8 width, uint32_t seed) {
  const P8 along = {q.x * 0.4f, q.y * 0.4f, q.z * 0.08f};
  const F8 ring = fraction(length(q.x, q.y) + 2.0f * fractal_noise(along, 2, width * 0.4f, seed));
  const F8 fiber = value_noise({q.x * 6.0f, q.y * 6.0f, q.z * 0.5f}, seed + 7);
  const F8 grain = ring * ring * (1.0f - smoothstep(all(0.9f), all(1.0f), ring));
  return clamp01(mix(all(0.3f), grain, resolved(width)) +
                 0.3f * resolved(6.0f * width) * (fiber - 0.5f));
}

F8 marble(const P8& q, F8 width, uint32_t seed) {
  const F8 turbulence = fractal_noise(q * all(0.8f), 4, width, seed) - 0.5f;
  return mix(all(0.5f), round_wave(0.5f * q.x + 2.2f * turbulence), resolved(width));
}

struct Bricks {
  F8 mortar;  // 1 in the joints
  F8 shade;   // each brick's own, in [0, 1]
};

// Rows of height 1, bricks `longer` times as long, every second row shifted by half.
Bricks bricks(const P8& q, float longer, float joint, F8 width, uint32_t seed) {
  const F8 row = floor(q.y);
  const F8 along = q.x / longer + fraction(0.5f * row);
  const F8 column = floor(along);
  const F8 du = (0.5f - abs(along - column - 0.5f)) * longer;
  const F8 dv = 0.5f - abs(q.y - row - 0.5f);
  const F8 edge = joint + max(width, 0.03f);
  const F8 mortar = 1.0f - smoothstep(F8{}, all(1.0f), (min(du, dv) - 0.5f * joint) / edge + 0.5f);
  const F8 shade = hash01(corner(column, 0x8da6b343u) ^ corner(row, 0xd8163841u) ^ seed);
  return {mortar * resolved(width), mix(all(0.5f), shade, resolved(0.5f * width))};
}

}  // namespace

P8 texture_color(const Texture& texture, const P8& p, F8 footprint) {
  const P8 q = P8{dot(p, all(texture.u)), dot(p, all(texture.v)), dot(p, all(texture.w))} *
               all(texture.frequency);
  const F8 width = footprint * texture.frequency;
  F8 t = {};
  switch (texture.pattern) {
    case Pattern::kPlain:
      break;
    case Pattern::kStripes:
      t = 0.5f + 0.5f * square_wave(q.x, width);
      break;
    case Pattern::kChecks:  // a little off the planes through the origin, where shapes have faces
      t = 0.5f + 0.5f * square_wave(q.x + 0.13f, width) * square_wave(q.y + 0.17f, width) *
                     square_wave(0.5f * q.z + 0.11f, F8{});
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
      t = mix(0.35f * b.shade, all(1.0f), b.mortar);
      break;
    }
    case Pattern::kPlanks: {
      const Bricks b = bricks(q, 7.0f, 0.02f, width, texture.seed);
      const F8 fiber = value_noise({q.x * 0.7f, q.y * 6.0f, 9.0f * b.shade}, texture.seed + 3);
      t = clamp01(0.6f * b.shade + 0.35f * fiber * resolved(6.0f * width) + 0.6f * b.mortar);
      break;
    }
  }
  const P8 color = mix(all(texture.first), all(texture.second), t);
  const F8 cloud = fractal_noise(p * all(1.7f), 3, 1.7f * footprint, texture.seed + 11) - 0.5f;
  return color * (1.0f + 2.0f * texture.mottle * cloud);
}

}  // namespace tessera::scene
