// What a picture shows: camera, light, backdrop and a few things, drawn at random.
// Rule: a Scene is a pure function of its random stream and knows nothing of pixels.
#pragma once

#include <vector>

#include "data/scene/shapes.h"
#include "engine/philox.h"

namespace tessera::scene {

struct Camera {
  Vec3 position;
  Vec3 right, up, forward;      // orthonormal
  float half_angle_tan = 0.4f;  // half of the shorter side of the picture, at distance 1
};

struct Scene {
  Camera camera;
  std::vector<Thing> things;  // things[0] is what the picture is of
  Texture ground;
  bool indoors = false;
  // Indoors: a wall dot(wall_normal, p) = wall_offset, seen from its lower side.
  Texture wall;
  Vec3 wall_normal;
  float wall_offset = 0;
  // Outdoors.
  Vec3 horizon, zenith, cloud, hill;
  float cloudiness = 0, hilliness = 0, haze = 0;
  uint32_t sky_seed = 0;
  // Light.
  Vec3 to_sun;                // unit
  Vec3 sun, sky_light;        // colours times strength
  float shadow_softness = 8;  // greater is harder
  float vignette = 0;
};

// What the picture is of: the first draw, so that a label costs no drawing.
Kind main_kind(PhiloxStream& random);
Scene compose(PhiloxStream& random);

}  // namespace tessera::scene
