// Pictures side by side, to be looked at.
#pragma once

#include <vector>

#include "data/image.h"
#include "engine/tensor.h"

namespace tessera {

// columns: tensors (B, C, H, W) of one shape, C 1 or 3, values in [0, 1] (what lies outside is cut
// off). Row b has picture b of each. Small pictures are magnified by a whole number, so that a
// person sees them.
Image picture_sheet(const std::vector<Tensor>& columns);

}  // namespace tessera
