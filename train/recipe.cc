// The recipe as JSON and its checks.
#include "train/checkpoint.h"
#include "train/pretrain.h"
#include "train/run_folder.h"

namespace tessera {

using nlohmann::json;

// The key of each field is the flag that sets it, so that a message can name the flag.
// One list serves both directions: visit(key, field) for every field.
template <class Recipe, class Visitor>
static void visit_fields(Recipe& r, Visitor&& visit) {
  visit("arch", r.arch);
  visit("image-height", r.model.image_height);
  visit("image-width", r.model.image_width);
  visit("patch-size", r.model.patch);
  visit("channels", r.model.channels);
  visit("dim", r.model.dim);
  visit("depth", r.model.depth);
  visit("heads", r.model.heads);
  visit("mlp-ratio", r.model.mlp_ratio);
  visit("decoder-dim", r.model.decoder_dim);
  visit("decoder-depth", r.model.decoder_depth);
  visit("decoder-heads", r.model.decoder_heads);
  visit("norm-pix-loss", r.model.norm_pix_loss);
  visit("mask-ratio", r.model.mask_ratio);
  visit("holdout", r.holdout);
  visit("crop-scale", r.crop_scale);
  visit("mean", r.mean);
  visit("std", r.std);
  visit("epochs", r.epochs);
  visit("max-steps", r.max_steps);
  visit("batch-size", r.batch_size);
  visit("accumulate", r.accumulate);
  visit("base-lr", r.base_lr);
  visit("min-lr", r.min_lr);
  visit("beta1", r.beta1);
  visit("beta2", r.beta2);
  visit("weight-decay", r.weight_decay);
  visit("warmup-epochs", r.warmup_epochs);
  visit("warmup-steps", r.warmup_steps);
  visit("clip-grad", r.clip_grad);
  visit("eval-every", r.eval_every);
  visit("seed", r.seed);
  visit("data-id", r.data_id);
}

json to_json(const PretrainRecipe& recipe) {
  json out = json::object();
  visit_fields(recipe, [&](const char* key, const auto& field) { out[key] = field; });
  out["augment"] = name_of(recipe.augment);
  out["precision"] = name_of(recipe.precision);
  return out;
}

PretrainRecipe recipe_from_json(const json& in) {
  PretrainRecipe recipe;
  std::string key_now;
  try {
    visit_fields(recipe, [&](const char* key, auto& field) {
      key_now = key;
      in.at(key).get_to(field);
    });
    key_now = "augment";
    recipe.augment = augment_from_name(in.at("augment").get<std::string>());
    key_now = "precision";
    // The first version knew only f32.
    recipe.precision = precision_from_name(in.value("precision", "f32"));
  } catch (const json::exception&) {
    throw Error(fmt::format("the recipe lacks a usable '{}'", key_now));
  }
  return recipe;
}

DType precision_from_name(const std::string& name) {
  DType dtype = DType::kF32;
  const bool known = parse_dtype(name, &dtype) &&
                     (dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16);
  TESSERA_CHECK_USAGE(known, "--precision must be f32, bf16 or f16, not {}", name);
  return dtype;
}

void PretrainRecipe::check() const {
  model.check();
  TESSERA_CHECK_USAGE(batch_size > 0, "--batch-size must be positive, got {}", batch_size);
  TESSERA_CHECK_USAGE(accumulate > 0, "--accumulate must be positive, got {}", accumulate);
  TESSERA_CHECK_USAGE(epochs > 0 || max_steps > 0, "--epochs must be positive, got {}", epochs);
  TESSERA_CHECK_USAGE(max_steps >= 0, "--max-steps must not be negative, got {}", max_steps);
  TESSERA_CHECK_USAGE(holdout >= 0 && holdout < 1, "--holdout must be in [0, 1), got {}", holdout);
  TESSERA_CHECK_USAGE(base_lr > 0, "--base-lr must be positive, got {}", base_lr);
  TESSERA_CHECK_USAGE(min_lr >= 0, "--min-lr must not be negative, got {}", min_lr);
  TESSERA_CHECK_USAGE(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
                      "--betas must be in [0, 1), got {} {}", beta1, beta2);
  TESSERA_CHECK_USAGE(weight_decay >= 0, "--weight-decay must not be negative, got {}",
                      weight_decay);
  TESSERA_CHECK_USAGE(clip_grad >= 0, "--clip-grad must not be negative, got {}", clip_grad);
  TESSERA_CHECK_USAGE(crop_scale[0] > 0 && crop_scale[0] <= crop_scale[1] && crop_scale[1] <= 1,
                      "--crop-scale must be two shares of the area, smaller first, got {} {}",
                      crop_scale[0], crop_scale[1]);
  const size_t channels = static_cast<size_t>(model.channels);
  TESSERA_CHECK_USAGE(mean.size() == channels && std.size() == channels,
                      "--mean and --std need one value for each of {} channels, got {} and {}",
                      channels, mean.size(), std.size());
  for (float s : std) TESSERA_CHECK_USAGE(s > 0, "--std must be positive, got {}", s);
}

PretrainRecipe recipe_of_run(const std::string& out) {
  std::vector<std::string> broken;
  const auto newest = newest_whole_checkpoint(out, &broken);
  TESSERA_CHECK_USAGE(newest.has_value(), "--resume: no whole checkpoint in {}{}", out,
                      broken.empty() ? "" : ": " + broken.front());
  const Checkpoint checkpoint(newest->path);
  try {
    return recipe_from_json(checkpoint.recipe());
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", newest->path, error.what()));
  }
}

}  // namespace tessera
