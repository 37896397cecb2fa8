// Textures: colour as a function of a point in space.
// Rule: solid textures (they fill space, so any shape can be cut from them), filtered by the width
// a sample covers, so that a floor does not flicker in the distance. Colours are linear light.
#pragma once

#include <cstdint>

#include "data/scene/lanes.h"

namespace tessera::scene {

enum class Pattern { kPlain, kStripes, kChecks, kDots, kWood, kMarble, kSpeckle, kBricks, kPlanks };

struct Texture {
  Pattern pattern = Pattern::kPlain;
  Vec3 first, second;                       // the two colours that the pattern mixes
  Vec3 u{1, 0, 0}, v{0, 1, 0}, w{0, 0, 1};  // the pattern's own axes, orthonormal
  float frequency = 1.0f;                   // periods per unit of length
  float mottle = 0.1f;  // strength of the irregular light and dark on top of the pattern
  uint32_t seed = 0;
};

// footprint: the width that one sample covers, in units of p.
Points texture_color(const Texture& texture, const Points& p, Floats footprint);

}  // namespace tessera::scene
