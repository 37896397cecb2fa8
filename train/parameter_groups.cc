// A group is known by its label: layer, decayed or not.
#include "train/parameter_groups.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "models/vit.h"

namespace tessera {

std::vector<ParameterGroup> vit_parameter_groups(const Module& model, int64_t depth,
                                                 double layer_decay, double weight_decay) {
  TESSERA_CHECK_USAGE(layer_decay > 0 && layer_decay <= 1, "layer decay {} is outside (0, 1]",
                      layer_decay);
  std::vector<ParameterGroup> groups;
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (!requires_grad(tensor)) continue;
    const int64_t layer = layer_of(name, depth);
    const bool decayed = tensor.ndim() > 1 && name != "pos_embed" && name != "cls_token";
    const std::string label =
        fmt::format("layer {}, {}", layer, decayed ? "decayed" : "not decayed");
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const ParameterGroup& g) { return g.label == label; });
    if (group == groups.end()) {
      const double lr_factor = std::pow(layer_decay, double(depth + 1 - layer));
      groups.push_back({label, {}, lr_factor, decayed ? weight_decay : 0});
      group = groups.end() - 1;
    }
    group->names.push_back(name);
  }
  return groups;
}

}  // namespace tessera
