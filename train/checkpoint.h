// Checkpoints: a model, its optimizer's moments and the recipe, in one safetensors file.
// Tensors: the state dict under its own names, so that other tools read the weights,
// "optimizer/exp_avg/<name>", "optimizer/exp_avg_sq/<name>", and what else a run must remember:
// "ema/<name>" (train/ema.h), "task/<name>" (train/training.h). Metadata: format_version, step,
// recipe; updates, loss_scale and clean_updates where a loss is scaled. Rule: the metadata holds
// what defines the result and nothing else: no path, time, host or thread count, so equal runs give
// equal files.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nn/module.h"
#include "train/adamw.h"
#include "train/files/safetensors.h"

namespace tessera {

inline constexpr int kCheckpointFormatVersion = 1;

// Writes step, recipe, model, optimizer and `more`; atomic and durable.
void save_checkpoint(const std::string& path, Module& model, const AdamW& optimizer, int64_t step,
                     const nlohmann::json& recipe, const std::vector<NamedTensor>& more = {});

// Writes a checkpoint of weights alone, that no training of ours has made: step 0, no moments.
void save_weights(const std::string& path, const std::vector<NamedTensor>& weights,
                  const nlohmann::json& recipe);

// A checkpoint opened for reading. UsageError when the file is missing, Error when it is broken, no
// checkpoint of ours or of a newer format; each names the file.
class Checkpoint {
 public:
  explicit Checkpoint(const std::string& path);

  int64_t step() const { return step_; }
  const nlohmann::json& recipe() const { return recipe_; }
  const SafetensorsReader& file() const { return file_; }

  // Copies the weights into the model; an Error names what does not fit.
  void load_model(Module& model) const;
  // Copies the moments into the optimizer (its arena's names) and sets its count of updates, and
  // the loss scale where there is one.
  void load_optimizer(AdamW& optimizer) const;
  // The weights that whoever does not train wants: the averaged ones where some were kept, under
  // the model's own names.
  std::map<std::string, Tensor> weights() const;
  // Copies into tensors that were saved as `more`.
  void load_more(const std::vector<NamedTensor>& more) const;

 private:
  SafetensorsReader file_;
  int64_t step_ = 0;
  nlohmann::json recipe_;
};

// Whether a checkpoint's tensor belongs to the model: names of state dicts have dots, all others a
// slash.
bool is_weight(const std::string& name);

// Reads the named tensors of a safetensors file into host tensors.
std::map<std::string, Tensor> read_tensors(const SafetensorsReader& file,
                                           bool (*wanted)(const std::string& name));

}  // namespace tessera
