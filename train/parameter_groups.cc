// From the model's groups to the optimizer's.
#include "train/parameter_groups.h"

#include "models/transfer.h"

namespace tessera {

std::vector<ParameterGroup> vit_parameter_groups(const Module& model, int64_t depth,
                                                 double layer_decay, double weight_decay) {
  std::vector<ParameterGroup> groups;
  for (const UpdateGroup& group : update_groups(model, depth, layer_decay)) {
    groups.push_back(
        {fmt::format("layer {}, {}", group.layer, group.weight_decay ? "decayed" : "not decayed"),
         group.names, group.lr_factor, group.weight_decay ? weight_decay : 0});
  }
  return groups;
}

}  // namespace tessera
