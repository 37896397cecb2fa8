// From a scene to pixels: one ray a sample, light, shadow, colour; and to a class for each pixel.
// Rule: any size; the same scene at another size is the same view. Bits depend on scene and size
// only.
#pragma once

#include <cstdint>
#include <vector>

#include "data/image.h"
#include "data/scene/trace.h"

namespace tessera::scene {

// RGB of (height, width).
Image draw(const Scene& scene, int height, int width);
// The class at each pixel's centre: a Kind or a Backdrop, (height, width) in 1 channel.
Image draw_classes(const Scene& scene, int height, int width);

}  // namespace tessera::scene
