// A vision transformer's parameters as the optimizer wants them grouped.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/module.h"
#include "train/adamw.h"

namespace tessera {

// By layer and decay (update_groups in models/transfer.h): the learning rate of layer l times
// layer_decay^(depth + 1 - l); no weight decay for vectors, pos_embed and cls_token.
std::vector<ParameterGroup> vit_parameter_groups(const Module& model, int64_t depth,
                                                 double layer_decay, double weight_decay);

}  // namespace tessera
