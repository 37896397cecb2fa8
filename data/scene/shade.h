// What rays from the camera see: textures, one sun with soft shadows, light from the sky, contact
// shade, haze.
// Rule: linear light. What a sample sees does not depend on the others.
#pragma once

#include <array>
#include <span>

#include "data/scene/trace.h"

namespace tessera::scene {

struct Sky {
  Points color;
  Ints hills;  // where hills hide the sky
};
// along: unit vectors. footprint: the width of a sample at distance 1.
Sky sky_at(const Scene& scene, const Points& along, float footprint);

// What rays met, before light falls on it.
struct Surfaces {
  Points normal = Vec3{0, 1, 0};
  Points albedo;
  Floats gloss;

  void take(Ints mask, const Points& new_normal, const Points& new_albedo, float new_gloss);
};

struct Samples {
  Points color;  // linear
  Ints what;     // differs between things and between parts of the backdrop
};

// Results stay until the next call.
class Shader {
 public:
  // pixel: the width of a sample at distance 1.
  Shader(const Scene& scene, float pixel) : scene_(scene), pixel_(pixel), tracer_(scene) {}

  // along: unit vectors, at most March::kMostPackets.
  std::span<const Samples> operator()(std::span<const Points> along);

 private:
  Samples with_air(const Hits& hits, const Points& color, const Points& along) const;

  const Scene& scene_;
  float pixel_;
  Tracer tracer_;
  template <class T>
  using PerPacket = std::array<T, March::kMostPackets>;
  PerPacket<Points> points_, shadow_starts_;
  PerPacket<Surfaces> surfaces_;
  PerPacket<Ints> sunny_;  // turned to the sun
  PerPacket<Samples> samples_;
};

}  // namespace tessera::scene
