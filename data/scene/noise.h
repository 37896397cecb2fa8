// Value noise: a hash at each corner of a lattice, blended smoothly in between; sums of octaves.
// Rule: a pure function of position and seed, in [0, 1], with a mean of about one half.
#pragma once

#include "data/scene/lanes.h"

namespace tessera::scene {

// A lattice axis's share of a corner's hash.
inline U8 corner(F8 whole, uint32_t factor) {
  return (U8) __builtin_convertvector(whole, I8) * factor;
}

inline F8 hash01(U8 h) {
  h = (h ^ (h >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15)) * 0x846ca68bu;
  h = h ^ (h >> 16);
  return __builtin_convertvector((I8)(h >> 8), F8) * 0x1p-24f;
}

inline F8 value_noise(P8 p, uint32_t seed) {
  constexpr uint32_t kX = 0x8da6b343u, kY = 0xd8163841u, kZ = 0xcb1ab31fu;
  const F8 fx = floor(p.x), fy = floor(p.y), fz = floor(p.z);
  const U8 x = corner(fx, kX), y = corner(fy, kY) + seed, z = corner(fz, kZ);
  const P8 f = {p.x - fx, p.y - fy, p.z - fz};
  const F8 u = f.x * f.x * (3.0f - 2.0f * f.x), v = f.y * f.y * (3.0f - 2.0f * f.y),
           w = f.z * f.z * (3.0f - 2.0f * f.z);
  auto edge = [&](uint32_t dy, uint32_t dz) {
    const U8 yz = (y + dy) ^ (z + dz);
    return mix(hash01(x ^ yz), hash01((x + kX) ^ yz), u);
  };
  return mix(mix(edge(0, 0), edge(kY, 0), v), mix(edge(0, kZ), edge(kY, kZ), v), w);
}

// Octaves of half the size and half the strength each; those finer than twice `footprint` (the
// width that a sample covers) fade out, as an eye would blur them.
inline F8 fractal_noise(P8 p, int octaves, F8 footprint, uint32_t seed) {
  F8 sum = all(0.5f);
  float strength = 0.5f;
  for (int i = 0; i < octaves && any(footprint < 0.6f); ++i) {
    const F8 seen = 1.0f - smoothstep(all(0.3f), all(0.6f), footprint);
    sum += strength * seen * (value_noise(p, seed + static_cast<uint32_t>(i) * 0x9e3779b9u) - 0.5f);
    strength *= 0.5f;
    footprint *= 2.0f;
    p = p * all(2.03f);  // not quite 2: lattices must not line up
  }
  return sum;
}

}  // namespace tessera::scene
