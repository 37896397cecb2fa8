// Named model sizes.
// Rule: base, large and huge are the published ones (arXiv 2111.06377, Table 8 and models_mae.py);
// tiny and small are ViT's usual widths with a decoder to match.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/beit.h"
#include "models/mae.h"

namespace tessera {

// "vit_tiny", "vit_small", "vit_base", "vit_large", "vit_huge".
const std::vector<std::string>& mae_preset_names();

// The named model at 224 x 224 with its published patch: 16, and 14 for vit_huge. A UsageError
// lists the names when there is none.
MaeConfig mae_preset(std::string_view name);

// "vit_tiny", "vit_small", "vit_base", "vit_large".
const std::vector<std::string>& beit_preset_names();

// The named BEiT at 224 x 224 (arXiv 2106.08254 and run_beit_pretraining.py: base, large; tiny and
// small after base): shared relative bias, drop path 0.1, layer scale 0.1, and 1e-5 for vit_large.
// A UsageError lists the names when there is none.
BeitConfig beit_preset(std::string_view name);

// The patch size where the user names none: the published one from 128 pixels on, 8 from 64, else
// 4, so that a small picture still has enough patches to mask. Whether it divides the picture is
// the business of the configuration's check().
int64_t default_patch(int64_t published, int64_t image_height, int64_t image_width);

}  // namespace tessera
