// The recipe of masked pre-training: everything a run is made of, and the run itself.
// Rule: a run is a function of its recipe. What may differ between two runs of one result (device,
// threads, workers, where and how often to save, how to report) is kept apart, in RunOptions.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/loader.h"
#include "engine/device.h"
#include "models/mae.h"

namespace tessera {

// What defines the result.
struct PretrainRecipe {
  std::string arch = "vit_base";
  MaeConfig model;
  double holdout = 0;
  Augment augment = Augment::kCropFlip;
  std::array<double, 2> crop_scale = {0.2, 1.0};
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
  int64_t eval_every = -1;    // steps; 0: never; < 0: every epoch, and at the end
  // f32, or the low dtype of autocast: bf16, or f16 with a loss scale.
  DType precision = DType::kF32;
  uint64_t seed = 0;
  std::string data_id;  // what the pictures are (names and count), filled in by the run

  // UsageError, one line, for what cannot be trained.
  void check() const;
};

// What does not.
struct RunOptions {
  std::string data = "builtin:";
  std::string out;
  bool resume = false;
  int workers = 2;
  bool checkpoint_activations = false;  // less memory for a third more work, the same bits
  int64_t decoded_cache = -1;    // MiB of decoded pictures kept for later epochs; < 0: see the flag
  int64_t checkpoint_every = 0;  // steps; 0: every epoch; always at the end
  int64_t log_every = 1;         // steps between records
  int keep = 2;
  bool log_json = false;
  bool dry_run = false;
  int64_t profile_steps = 0;  // so many, after two that are not, become OUT/profile.txt and .json
  std::string config_text;    // written into the run's folder, for --config
  std::vector<std::string> notes;  // said once it is clear that the run starts
};

// "f32", "bf16" or "f16"; UsageError otherwise.
DType precision_from_name(const std::string& name);
nlohmann::json to_json(const PretrainRecipe& recipe);
// Error when a key is missing or of another type.
PretrainRecipe recipe_from_json(const nlohmann::json& json);

// Trains. Returns the process's exit status: 0 complete, 130 stopped by Ctrl-C after saving.
// Throws for everything else; what was saved stays.
int pretrain_mae(const PretrainRecipe& recipe, const RunOptions& options);

// Whether the newest whole checkpoint of options.out is loaded and its recipe returned (--resume).
PretrainRecipe recipe_of_run(const std::string& out);

}  // namespace tessera
