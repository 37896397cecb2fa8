// From tensors to recipes.
#include "train/published.h"

#include <cmath>

#include "data/augmenter.h"
#include "engine/error.h"
#include "models/encoder.h"
#include "models/presets.h"
#include "models/transfer.h"
#include "train/pretrain_beit.h"
#include "train/pretrain_mae.h"
#include "train/tokenizer_recipe.h"

namespace tessera {
namespace {

bool has(const StateDict& dict, const std::string& name) { return dict.contains(name); }

// A dimension of a tensor that the model must have.
int64_t size_in(const StateDict& dict, const std::string& name, int64_t dim, int64_t dims) {
  const auto found = dict.find(name);
  TESSERA_CHECK(found != dict.end(), "'{}' is missing", name);
  TESSERA_CHECK(found->second.ndim() == dims, "'{}' has {} dimensions, not {}", name,
                found->second.ndim(), dims);
  return found->second.size(dim);
}

// How many of "prefix0.", "prefix1.", ... there are, counted from `first`.
int64_t count_of(const StateDict& dict, const std::string& prefix, int64_t first = 0) {
  int64_t count = 0;
  const auto there = [&] {
    const std::string name = fmt::format("{}{}.", prefix, first + count);
    const auto next = dict.lower_bound(name);
    return next != dict.end() && next->first.starts_with(name);
  };
  while (there()) ++count;
  return count;
}

int64_t root_of(int64_t square, const char* what) {
  const auto root = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(square))));
  TESSERA_CHECK(root * root == square, "{} {}: not those of a square picture", square, what);
  return root;
}

// The size of that name where a preset has these measures, else "custom".
template <class Config>
std::string arch_of(const Config& config, const std::vector<std::string>& names,
                    Config (*preset)(std::string_view)) {
  for (const std::string& name : names) {
    const Config known = preset(name);
    if (known.dim == config.dim && known.depth == config.depth) return name;
  }
  return "custom";
}

int64_t heads_of(int64_t given, int64_t known, const char* flag) {
  TESSERA_CHECK_USAGE(given > 0 || known > 0,
                      "a model of no named size: {} must say how many attention heads it has",
                      flag);
  return given > 0 ? given : known;
}

// The weights as the model has them: every one there, of the right shape, none left over.
std::vector<NamedTensor> fitted(Module& model, const StateDict& dict) {
  model.load_state_dict(dict);
  return model.state_dict();
}

// ---- MAE: models_mae.py's whole model, or the encoder alone, as its repository publishes both
// ----

MaeConfig mae_config(const StateDict& dict, const PublishedOptions& options, bool whole,
                     std::string& arch) {
  MaeConfig config;
  config.dim = size_in(dict, "cls_token", 2, 3);
  config.depth = count_of(dict, "blocks.");
  arch = arch_of(config, mae_preset_names(), mae_preset);
  const MaeConfig known = arch == "custom" ? MaeConfig{} : mae_preset(arch);
  config.channels = size_in(dict, "patch_embed.proj.weight", 1, 4);
  config.patch = size_in(dict, "patch_embed.proj.weight", 2, 4);
  const int64_t grid = root_of(size_in(dict, "pos_embed", 1, 3) - 1, "positions");
  config.image_height = config.image_width = grid * config.patch;
  config.mlp_ratio = static_cast<double>(size_in(dict, "blocks.0.mlp.fc1.weight", 0, 2)) /
                     static_cast<double>(config.dim);
  config.heads = heads_of(options.heads, arch == "custom" ? 0 : known.heads, "--heads");
  config.decoder_dim = known.decoder_dim;
  config.decoder_depth = known.decoder_depth;
  config.decoder_heads = known.decoder_heads;
  if (whole) {
    config.decoder_dim = size_in(dict, "decoder_embed.weight", 0, 2);
    config.decoder_depth = count_of(dict, "decoder_blocks.");
    const bool same = arch != "custom" && config.decoder_dim == known.decoder_dim;
    config.decoder_heads =
        heads_of(options.decoder_heads, same ? known.decoder_heads : 0, "--decoder-heads");
  }
  config.norm_pix_loss = options.norm_pix_loss;
  config.check();
  return config;
}

PublishedModel mae(const StateDict& dict, const PublishedOptions& options) {
  const bool whole = has(dict, "decoder_embed.weight");
  auto recipe = std::make_unique<MaeRecipe>();
  recipe->model = mae_config(dict, options, whole, recipe->arch);
  recipe->mean.assign(kImageNetMean.begin(), kImageNetMean.end());
  recipe->std.assign(kImageNetStd.begin(), kImageNetStd.end());
  PublishedModel published;
  published.what = fmt::format("MAE {}{}", recipe->arch, whole ? "" : ", the encoder alone");
  if (whole) {
    Mae model(recipe->model);
    published.weights = fitted(model, dict);
  } else {
    VitEncoder model(encoder_of(recipe->model), FinalNorm::kTokens);
    published.weights = fitted(model, dict);
  }
  published.recipe = std::move(recipe);
  return published;
}

// ---- BEiT: modeling_pretrain.py's model ----

PublishedModel beit(const StateDict& dict, const PublishedOptions& options) {
  auto recipe = std::make_unique<BeitRecipe>();
  BeitConfig& config = recipe->model;
  config.dim = size_in(dict, "cls_token", 2, 3);
  config.depth = count_of(dict, "blocks.");
  recipe->arch = arch_of(config, beit_preset_names(), beit_preset);
  config.channels = size_in(dict, "patch_embed.proj.weight", 1, 4);
  config.patch = size_in(dict, "patch_embed.proj.weight", 2, 4);
  config.mlp_ratio = static_cast<double>(size_in(dict, "blocks.0.mlp.fc1.weight", 0, 2)) /
                     static_cast<double>(config.dim);
  config.vocab = size_in(dict, "lm_head.weight", 0, 2);
  config.layer_scale = has(dict, "blocks.0.gamma_1") ? 0.1 : 0;  // its value is among the weights
  config.qkv_bias = has(dict, "blocks.0.attn.q_bias") ? QkvBias::kQueryValue : QkvBias::kNone;
  config.absolute_positions = has(dict, "pos_embed");
  const std::string shared = "rel_pos_bias.relative_position_bias_table";
  const std::string own = "blocks.0.attn.relative_position_bias_table";
  config.relative_bias = has(dict, shared) ? RelativeBias::kShared
                         : has(dict, own)  ? RelativeBias::kPerBlock
                                           : RelativeBias::kNone;
  int64_t grid = 0, heads = recipe->arch == "custom" ? 0 : beit_preset(recipe->arch).heads;
  if (config.relative_bias == RelativeBias::kNone) {
    grid = root_of(size_in(dict, "pos_embed", 1, 3) - 1, "positions");
  } else {
    const std::string& table = has(dict, shared) ? shared : own;
    grid = (root_of(size_in(dict, table, 0, 2) - 3, "relative positions") + 1) / 2;
    heads = size_in(dict, table, 1, 2);
  }
  config.image_height = config.image_width = grid * config.patch;
  config.heads = heads_of(options.heads, heads, "--heads");
  const int64_t inner = size_in(dict, "blocks.0.attn.proj.weight", 1, 2);
  if (inner != config.dim) config.head_dim = inner / config.heads;
  recipe->mean.assign(static_cast<size_t>(config.channels), 0.5f);  // the reference's default
  recipe->std = recipe->mean;
  config.check();
  Beit model(config);
  PublishedModel published;
  published.weights = fitted(model, dict);
  published.what = fmt::format("BEiT {}", recipe->arch);
  published.recipe = std::move(recipe);
  return published;
}

// ---- DALL-E: dall_e/encoder.py and decoder.py, a file each ----

constexpr char kDalleInput[] = "blocks.input.w";

PublishedModel dalle(const std::vector<StateDict>& halves) {
  TESSERA_CHECK_USAGE(
      halves.size() == 2 && has(halves[0], kDalleInput) && has(halves[1], kDalleInput),
      "half of DALL-E's tokenizer: name both files, the encoder's and the decoder's");
  // The encoder's first convolution is 7 x 7, the decoder's 1 x 1.
  const bool turned = size_in(halves[0], kDalleInput, 2, 4) == 1;
  const StateDict &encoder = halves[turned ? 1 : 0], &decoder = halves[turned ? 0 : 1];
  TESSERA_CHECK_USAGE(
      size_in(encoder, kDalleInput, 2, 4) > 1 && size_in(decoder, kDalleInput, 2, 4) == 1,
      "the same half of DALL-E's tokenizer twice: name the encoder and the decoder");
  auto recipe = std::make_unique<TokenizerRecipe>();
  recipe->arch = "dalle";
  recipe->width = size_in(encoder, kDalleInput, 0, 4);
  recipe->channels = size_in(encoder, kDalleInput, 1, 4);
  recipe->vocab = size_in(encoder, "blocks.output.conv.w", 0, 4);
  recipe->blocks_per_group = count_of(encoder, "blocks.group_1.block_", 1);
  recipe->decoder_width = size_in(decoder, kDalleInput, 0, 4);
  recipe->mean.assign(static_cast<size_t>(recipe->channels), 0.0f);
  recipe->std.assign(static_cast<size_t>(recipe->channels), 1.0f);
  recipe->check();
  StateDict whole;
  for (const auto& [name, tensor] : encoder) whole["encoder." + name] = tensor;
  for (const auto& [name, tensor] : decoder) whole["decoder." + name] = tensor;
  Dalle model(recipe->dalle());
  PublishedModel published;
  published.weights = fitted(model, whole);
  published.what = fmt::format("DALL-E's tokenizer of {} tokens", recipe->vocab);
  published.recipe = std::move(recipe);
  return published;
}

}  // namespace

PublishedModel published_model(const std::vector<StateDict>& files,
                               const PublishedOptions& options) {
  const StateDict& first = files.at(0);
  if (has(first, kDalleInput)) return dalle(files);
  TESSERA_CHECK_USAGE(files.size() == 1, "two files are for the two halves of DALL-E's tokenizer");
  if (has(first, "lm_head.weight") && has(first, "mask_token")) return beit(first, options);
  const bool head = has(first, "head.weight");
  if (has(first, "pos_embed") && has(first, "cls_token") && !head) return mae(first, options);
  throw UsageError(
      head ? "a classifier: its encoder is in the file of the pre-training"
           : "neither a MAE nor a BEiT nor a half of DALL-E's tokenizer, by its tensors' names");
}

}  // namespace tessera
