// VitConfig, field by field.
#include "train/vit_fields.h"

#include "models/names.h"

namespace tessera {

std::vector<RecipeField> vit_fields(VitConfig& model) {
  return {
      {"patch-size", &model.patch},
      {"dim", &model.dim},
      {"depth", &model.depth},
      {"heads", &model.heads},
      {"head-dim", &model.head_dim},
      {"mlp-ratio", &model.mlp_ratio},
      {"absolute-positions", &model.absolute_positions},
      word_field("relative-bias", model.relative_bias, relative_bias_from_name, name_of),
      word_field("qkv-bias", model.qkv_bias, qkv_bias_from_name, name_of),
      {"layer-scale", &model.layer_scale},
      {"drop-path", &model.drop_path},
      {"rescale-blocks", &model.rescale_blocks},
      {"norm-eps", &model.norm_eps, /*optional=*/true},
  };
}

}  // namespace tessera
