// The recipe's list of fields, as JSON and back, and its checks.
#include "train/recipe.h"

#include <type_traits>

#include "train/files/naming.h"
#include "train/run_folder.h"

namespace tessera {

using nlohmann::json;

std::vector<RecipeField> TrainingRecipe::fields() {
  const PictureFields shape = picture();
  std::vector<RecipeField> list = {
      {"arch", &arch},
      {"image-height", &shape.height},
      {"image-width", &shape.width},
      {"channels", &shape.channels},
      {"holdout", &holdout},
      {"crop-scale", &crop_scale},
      {"color-jitter", &color_jitter, /*optional=*/true},
      {"mean", &mean},
      {"std", &std},
      {"epochs", &epochs},
      {"max-steps", &max_steps},
      {"batch-size", &batch_size},
      {"accumulate", &accumulate},
      {"base-lr", &base_lr},
      {"min-lr", &min_lr},
      {"beta1", &beta1},
      {"beta2", &beta2},
      {"weight-decay", &weight_decay},
      {"warmup-epochs", &warmup_epochs},
      {"warmup-steps", &warmup_steps},
      {"clip-grad", &clip_grad},
      {"ema-decay", &ema_decay, /*optional=*/true},
      {"eval-every", &eval_every},
      {"tf32", &tf32, /*optional=*/true},
      {"seed", &seed},
      {"data-id", &data_id},
      word_field("augment", augment, augment_from_name, name_of),
  };
  RecipeField low = word_field("precision", precision, precision_from_name, name_of);
  low.optional = true;
  list.push_back(low);
  return list;
}

TrainingRecipe::PictureShape TrainingRecipe::picture_shape() const {
  const PictureFields fields = const_cast<TrainingRecipe*>(this)->picture();  // read only
  return {fields.height, fields.width, fields.channels};
}

json to_json(const TrainingRecipe& recipe) {
  json out = {{"task", recipe.task()}};
  for (const RecipeField& field : const_cast<TrainingRecipe&>(recipe).fields()) {  // read only
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, WordField>) {
            out[field.key] = value.get();
          } else {
            out[field.key] = *value;
          }
        },
        field.value);
  }
  return out;
}

std::string task_of(const json& recipe) {
  const auto task = recipe.find("task");
  if (task == recipe.end()) return "pretrain-mae";
  TESSERA_CHECK(task->is_string(), "the recipe lacks a usable 'task'");
  return task->get<std::string>();
}

void read_recipe(TrainingRecipe& recipe, const json& in) {
  TESSERA_CHECK_USAGE(task_of(in) == recipe.task(), "it is of the task {}, not {}", task_of(in),
                      recipe.task());
  for (const RecipeField& field : recipe.fields()) {
    const auto entry = in.find(field.key);
    if (entry == in.end() && field.optional) continue;
    try {
      std::visit(
          [&](const auto& value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, WordField>) {
              value.set(in.at(field.key).template get<std::string>());
            } else {
              in.at(field.key).get_to(*value);
            }
          },
          field.value);
    } catch (const json::exception&) {
      throw Error(fmt::format("the recipe lacks a usable '{}'", field.key));
    }
  }
}

void read_recipe(TrainingRecipe& recipe, const Checkpoint& checkpoint) {
  naming(checkpoint.file().path(), [&] { read_recipe(recipe, checkpoint.recipe()); });
}

DType precision_from_name(std::string_view name) {
  DType dtype = DType::kF32;
  const bool known = parse_dtype(name, &dtype) &&
                     (dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16);
  TESSERA_CHECK_USAGE(known, "--precision must be f32, bf16 or f16, not {}", name);
  return dtype;
}

void TrainingRecipe::check() const {
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
  TESSERA_CHECK_USAGE(ema_decay >= 0 && ema_decay < 1, "--ema-decay must be in [0, 1), got {}",
                      ema_decay);
  augmentation().check();
}

AugmentOptions TrainingRecipe::augmentation() const {
  const PictureShape shape = picture_shape();
  AugmentOptions options;
  options.height = static_cast<int>(shape.height);
  options.width = static_cast<int>(shape.width);
  options.channels = static_cast<int>(shape.channels);
  options.augment = augment;
  options.crop_scale = crop_scale;
  options.color_jitter = color_jitter;
  options.mean = mean;
  options.std = std;
  return options;
}

void read_recipe_of_run(TrainingRecipe& recipe, const std::string& out) {
  std::vector<std::string> broken;
  const auto newest = newest_whole_checkpoint(out, &broken);
  TESSERA_CHECK_USAGE(newest.has_value(), "--resume: no whole checkpoint in {}{}", out,
                      broken.empty() ? "" : ": " + broken.front());
  read_recipe(recipe, Checkpoint(newest->path));
}

}  // namespace tessera
