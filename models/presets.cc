// The table of named sizes.
#include "models/presets.h"

#include <algorithm>

namespace tessera {
namespace {

struct Preset {
  const char* name;
  int64_t patch, dim, depth, heads, decoder_dim, decoder_depth, decoder_heads;
};

constexpr Preset kPresets[] = {
    {"vit_tiny", 16, 192, 12, 3, 96, 4, 3},     {"vit_small", 16, 384, 12, 6, 256, 4, 8},
    {"vit_base", 16, 768, 12, 12, 512, 8, 16},  {"vit_large", 16, 1024, 24, 16, 512, 8, 16},
    {"vit_huge", 14, 1280, 32, 16, 512, 8, 16},
};

}  // namespace

const std::vector<std::string>& mae_preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const Preset& preset : kPresets) list.emplace_back(preset.name);
    return list;
  }();
  return names;
}

MaeConfig mae_preset(std::string_view name) {
  for (const Preset& preset : kPresets) {
    if (name != preset.name) continue;
    MaeConfig config;
    config.patch = preset.patch;
    config.dim = preset.dim;
    config.depth = preset.depth;
    config.heads = preset.heads;
    config.decoder_dim = preset.decoder_dim;
    config.decoder_depth = preset.decoder_depth;
    config.decoder_heads = preset.decoder_heads;
    return config;
  }
  throw UsageError(fmt::format("there is no architecture '{}'; there are {}", name,
                               fmt::join(mae_preset_names(), ", ")));
}

int64_t default_patch(const MaeConfig& preset, int64_t image_height, int64_t image_width) {
  const int64_t shorter = std::min(image_height, image_width);
  if (shorter >= 128) return preset.patch;
  return shorter >= 64 ? 8 : 4;
}

}  // namespace tessera
