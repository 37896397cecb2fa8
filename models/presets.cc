// The table of named sizes.
#include "models/presets.h"

#include <algorithm>

namespace tessera {
namespace {

struct Preset {
  std::string_view name;
  int64_t patch, dim, depth, heads, decoder_dim, decoder_depth, decoder_heads;
  double beit_layer_scale;  // 0: BEiT has no such size
};

constexpr Preset kPresets[] = {
    {"vit_tiny", 16, 192, 12, 3, 96, 4, 3, 0.1},
    {"vit_small", 16, 384, 12, 6, 256, 4, 8, 0.1},
    {"vit_base", 16, 768, 12, 12, 512, 8, 16, 0.1},
    {"vit_large", 16, 1024, 24, 16, 512, 8, 16, 1e-5},
    {"vit_huge", 14, 1280, 32, 16, 512, 8, 16, 0},
};

std::vector<std::string> names_where(bool (*wanted)(const Preset&)) {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    if (wanted(preset)) names.emplace_back(preset.name);
  }
  return names;
}

const Preset& preset_named(std::string_view name, const std::vector<std::string>& names) {
  TESSERA_CHECK_USAGE(std::find(names.begin(), names.end(), name) != names.end(),
                      "there is no architecture '{}'; there are {}", name, fmt::join(names, ", "));
  return *std::find_if(std::begin(kPresets), std::end(kPresets),
                       [&](const Preset& preset) { return preset.name == name; });
}

}  // namespace

const std::vector<std::string>& mae_preset_names() {
  static const std::vector<std::string> names = names_where([](const Preset&) { return true; });
  return names;
}

MaeConfig mae_preset(std::string_view name) {
  const Preset& preset = preset_named(name, mae_preset_names());
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

const std::vector<std::string>& beit_preset_names() {
  static const std::vector<std::string> names =
      names_where([](const Preset& preset) { return preset.beit_layer_scale > 0; });
  return names;
}

BeitConfig beit_preset(std::string_view name) {
  const Preset& preset = preset_named(name, beit_preset_names());
  BeitConfig config;
  config.patch = preset.patch;
  config.dim = preset.dim;
  config.depth = preset.depth;
  config.heads = preset.heads;
  config.layer_scale = preset.beit_layer_scale;
  return config;
}

int64_t default_patch(int64_t published, int64_t image_height, int64_t image_width) {
  const int64_t shorter = std::min(image_height, image_width);
  if (shorter >= 128) return published;
  return shorter >= 64 ? 8 : 4;
}

}  // namespace tessera
