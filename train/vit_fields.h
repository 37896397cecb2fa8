// The part of a recipe that says what a vision transformer looks like.
#pragma once

#include <vector>

#include "models/vit.h"
#include "train/recipe.h"

namespace tessera {

// All of VitConfig but the shape of its pictures, which every recipe has.
std::vector<RecipeField> vit_fields(VitConfig& model);

}  // namespace tessera
