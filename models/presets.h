// Named model sizes.
// Rule: base, large and huge are the published ones (arXiv 2111.06377, Table 8 and models_mae.py);
// tiny and small are ViT's usual widths with a decoder to match.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/mae.h"

namespace tessera {

// "vit_tiny", "vit_small", "vit_base", "vit_large", "vit_huge".
const std::vector<std::string>& mae_preset_names();

// The named model at 224 x 224 with its published patch: 16, and 14 for vit_huge. A UsageError
// lists the names when there is none.
MaeConfig mae_preset(std::string_view name);

// The patch size where the user names none: the preset's from 128 pixels on, 8 from 64, else 4, so
// that a small picture still has enough patches to mask. Whether it divides the picture is
// MaeConfig::check()'s business.
int64_t default_patch(const MaeConfig& preset, int64_t image_height, int64_t image_width);

}  // namespace tessera
