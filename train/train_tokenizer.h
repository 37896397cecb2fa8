// `tessera tokenizer train`: what a discrete autoencoder adds to the training loop (Ramesh et al.,
// 2021, arXiv 2102.12092, section 2.1 and appendix A.2).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/tokenizer_recipe.h"
#include "train/tokenizer_scores.h"
#include "train/training.h"

namespace tessera {

class TokenizerTask : public TrainingTask {
 public:
  explicit TokenizerTask(const TokenizerRecipe& recipe) : recipe_(recipe) {}

  TokenizerRecipe& recipe() override { return recipe_; }
  Module& build(bool checkpoint_activations) override;
  StepInputs inputs(const Batch& batch, const StepPlace& place) override;
  BatchLoss loss(const std::vector<Tensor>& tensors) override;
  void after_step(const StepPlace& place, double loss, const Figures& figures) override;
  std::vector<std::string> remarks() override { return std::exchange(remarks_, {}); }
  Evaluation evaluate(int64_t step) override;
  TaskCost cost(bool checkpoint_activations) const override;

 private:
  TokenizerRecipe recipe_;
  std::unique_ptr<Tokenizer> model_;
  std::optional<CodeWatch> watch_;  // begins with the start of the program, also of a resumed run
  bool warned_ = false;
  std::vector<std::string> remarks_;
};

}  // namespace tessera
