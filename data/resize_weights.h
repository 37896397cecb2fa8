// The weights of resampling along one axis, in the fixed point that data/resize.cc and a device's
// kernel (engine/picture_plan.h) sum with.
// Rule: doubles only here, in the order of operations of Pillow 9 (libImaging/Resample.c).
#pragma once

#include <cstdint>
#include <vector>

#include "data/resize.h"

namespace tessera {

// For each output position: the first input position, and the weights from there on, with
// kPictureBits bits of fraction.
struct AxisWeights {
  int taps = 0;                  // of the output that has the most
  std::vector<int> first;        // (outputs)
  std::vector<int32_t> weights;  // (outputs, taps); taps that an output lacks weigh 0
};

// Not for kNearest, which has none. The same size is one tap of weight 1: no pass is needed.
AxisWeights axis_weights(int in_size, int out_size, Interpolation interpolation);

}  // namespace tessera
