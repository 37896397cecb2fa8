// A vision transformer's parameters as the optimizer wants them grouped: which learns at which
// rate, and which decays. As in MAE's and BEiT's scripts.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/module.h"
#include "train/adamw.h"

namespace tessera {

// Every trained parameter of the model once, in groups by layer (layer_of in models/vit.h) and
// weight decay, in the order in which the state dict first shows them. Layer l learns at
// layer_decay^(depth + 1 - l) of the rate, at layer_decay 1 as fast as all; vectors, pos_embed and
// cls_token have no weight decay. UsageError: layer_decay outside (0, 1].
std::vector<ParameterGroup> vit_parameter_groups(const Module& model, int64_t depth,
                                                 double layer_decay, double weight_decay);

}  // namespace tessera
