// `tessera tokenizer train`: what a discrete autoencoder adds to the training loop (Ramesh et al.,
// 2021, arXiv 2102.12092, section 2.1 and appendix A.2).
#pragma once

#include <memory>

#include "train/tokenizer_recipe.h"
#include "train/training.h"

namespace tessera {

class TokenizerTask : public TrainingTask {
 public:
  explicit TokenizerTask(const TokenizerRecipe& recipe) : recipe_(recipe) {}

  TokenizerRecipe& recipe() override { return recipe_; }
  Module& build(bool checkpoint_activations) override;
  StepInputs inputs(const Batch& batch, const StepPlace& place) override;
  BatchLoss loss(const std::vector<Tensor>& tensors) override;
  Evaluation evaluate(int64_t step) override;
  TaskCost cost(bool checkpoint_activations) const override;

 private:
  TokenizerRecipe recipe_;
  std::unique_ptr<Tokenizer> model_;
};

}  // namespace tessera
