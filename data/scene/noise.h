// Value noise: a hash at each corner of a lattice, blended smoothly in between; sums of octaves.
// Rule: a pure function of position and seed, in [0, 1], with a mean of about one half.
#pragma once

#include "data/scene/lanes.h"

namespace tessera::scene {

// A lattice axis's share of a corner's hash.
inline Bits corner(Floats whole, uint32_t factor) { return to_bits(to_ints(whole)) * factor; }

// 24 random bits, as whole numbers; times kHashScale they are in [0, 1).
inline constexpr float kHashScale = 0x1p-24f;
inline Floats hash24(Bits h) {
  h = (h ^ (h >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15)) * 0x846ca68bu;
  h = h ^ (h >> 16);
  return to_floats(to_ints(h >> 8));
}

inline Floats value_noise(const Points& p, uint32_t seed) {
  constexpr uint32_t kX = 0x8da6b343u, kY = 0xd8163841u, kZ = 0xcb1ab31fu;
  const Floats fx = floor(p.x), fy = floor(p.y), fz = floor(p.z);
  const Bits x = corner(fx, kX), y = corner(fy, kY) + seed, z = corner(fz, kZ);
  const Points f = {p.x - fx, p.y - fy, p.z - fz};
  const Floats u = f.x * f.x * (3.0f - 2.0f * f.x), v = f.y * f.y * (3.0f - 2.0f * f.y),
               w = f.z * f.z * (3.0f - 2.0f * f.z);
  auto edge = [&](uint32_t dy, uint32_t dz) {
    const Bits yz = (y + dy) ^ (z + dz);
    return mix(hash24(x ^ yz), hash24((x + kX) ^ yz), u);
  };
  return mix(mix(edge(0, 0), edge(kY, 0), v), mix(edge(0, kZ), edge(kY, kZ), v), w) * kHashScale;
}

// Octaves of half the size and half the strength each; those finer than twice `footprint` (the
// width that a sample covers) fade out, as an eye would blur them.
inline Floats fractal_noise(Points p, int octaves, Floats footprint, uint32_t seed) {
  Floats sum = 0.5f;
  float strength = 0.5f;
  for (int i = 0; i < octaves && any(footprint < 0.6f); ++i) {
    const Floats seen = 1.0f - smoothstep(0.3f, 0.6f, footprint);
    sum += strength * seen * (value_noise(p, seed + static_cast<uint32_t>(i) * 0x9e3779b9u) - 0.5f);
    strength *= 0.5f;
    footprint *= 2.0f;
    p = p * 2.03f;  // not quite 2: lattices must not line up
  }
  return sum;
}

}  // namespace tessera::scene
