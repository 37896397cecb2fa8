// The recipe of a training: everything that its result is a function of. What all trainings share
// is here; each task adds its own fields (train/pretrain_mae.h and its neighbours).
// Rule: a field is listed once, in fields(), under the name of the flag that sets it; the JSON in a
// checkpoint, the comparison of two recipes and messages all follow from that list.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "data/loader.h"
#include "engine/dtype.h"
#include "train/checkpoint.h"

namespace tessera {

// A choice among words, such as --precision. set() throws a UsageError for a word it does not know.
struct WordField {
  std::function<std::string()> get;
  std::function<void(const std::string&)> set;
};

struct RecipeField {
  std::string key;  // the flag's name
  std::variant<bool*, int64_t*, uint64_t*, double*, std::string*, std::array<double, 2>*,
               std::vector<float>*, std::vector<std::string>*, WordField>
      value;
  bool optional = false;  // files of the first versions lack it: the default holds
};

struct TrainingRecipe {
  std::string arch;
  double holdout = 0;
  Augment augment = Augment::kCropFlip;
  std::array<double, 2> crop_scale = {0.2, 1.0};
  double color_jitter = 0;       // share by which colours change (data/augmenter.h); 0: none
  std::vector<float> mean, std;  // one a channel
  int64_t epochs = 100;
  int64_t max_steps = 0;  // when positive: the length of run and schedule, in place of epochs
  int64_t batch_size = 64, accumulate = 1;
  double base_lr = 1.5e-4;  // lr = base_lr * batch_size * accumulate / 256
  double min_lr = 0;
  double beta1 = 0.9, beta2 = 0.95, weight_decay = 0.05;
  double warmup_epochs = -1;  // < 0: a twentieth of the run (40 of the reference's 800 epochs)
  int64_t warmup_steps = -1;  // >= 0: in place of warmup_epochs
  double clip_grad = 0;       // largest gradient norm; 0: none
  double ema_decay = 0;       // of the weights' moving average (train/ema.h); 0: none is kept
  int64_t eval_every = -1;    // steps; 0: never; < 0: every epoch, and at the end
  // f32, or the low dtype of autocast: bf16, or f16 with a loss scale.
  DType precision = DType::kF32;
  bool tf32 = false;  // f32 products with TF32, where the device knows it (engine/backend.h)
  uint64_t seed = 0;
  std::string data_id;  // what the pictures are (names and count), filled in by the run

  virtual ~TrainingRecipe() = default;

  virtual std::string task() const = 0;     // "pretrain-mae": whose recipe it is, in a checkpoint
  virtual std::string command() const = 0;  // "pretrain mae": the words after `tessera`

  // The shape of the pictures that the model takes, wherever a task's recipe keeps it.
  struct PictureFields {
    int64_t& height;
    int64_t& width;
    int64_t& channels;
  };
  virtual PictureFields picture() = 0;
  struct PictureShape {
    int64_t height, width, channels;
  };
  PictureShape picture_shape() const;

  // Every field. A task appends its own to these.
  virtual std::vector<RecipeField> fields();

  // What happens to a picture on its way into a batch. A task adds its own.
  virtual AugmentOptions augmentation() const;

  // UsageError, one line, for what cannot be trained.
  virtual void check() const;
};

// A field that a function reads from a word: Augment, DType, ...
template <class T>
RecipeField word_field(std::string key, T& value, T (*from_name)(std::string_view),
                       const char* (*name)(T)) {
  return {std::move(key),
          WordField{[&value, name] { return std::string(name(value)); },
                    [&value, from_name](const std::string& word) { value = from_name(word); }}};
}

// "f32", "bf16" or "f16"; UsageError otherwise.
DType precision_from_name(std::string_view name);

// The fields and, under "task", whose they are.
nlohmann::json to_json(const TrainingRecipe& recipe);
// Sets every field from `json`. UsageError when the recipe is another task's, Error when a key is
// missing or of another type.
void read_recipe(TrainingRecipe& recipe, const nlohmann::json& json);
// The same from a checkpoint; messages name the file.
void read_recipe(TrainingRecipe& recipe, const Checkpoint& checkpoint);
// The task of a checkpoint's recipe; one that names none is of MAE, the first task there was.
std::string task_of(const nlohmann::json& recipe);

// Sets `recipe` from the newest whole checkpoint of the run in `out` (--resume).
void read_recipe_of_run(TrainingRecipe& recipe, const std::string& out);

}  // namespace tessera
