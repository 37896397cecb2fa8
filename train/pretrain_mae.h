// `tessera pretrain mae`: what a masked autoencoder adds to the training loop.
// Rule: masks depend on (seed, iteration) alone.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/mae.h"
#include "train/mask_schedule.h"
#include "train/reconstruction.h"
#include "train/training.h"

namespace tessera {

struct MaeRecipe : TrainingRecipe {
  MaeConfig model;  // with the mask ratio that the schedule starts from
  MaskRatioOptions mask_schedule;
  MaeRecipe() { arch = "vit_base"; }
  std::string task() const override { return "pretrain-mae"; }
  std::string command() const override { return "pretrain mae"; }
  PictureFields picture() override {
    return {model.image_height, model.image_width, model.channels};
  }
  std::vector<RecipeField> fields() override;
  void check() const override;
};

class MaeTask : public TrainingTask {
 public:
  explicit MaeTask(const MaeRecipe& recipe)
      : recipe_(recipe), mask_ratio_(recipe.model.mask_ratio, recipe.mask_schedule) {}

  MaeRecipe& recipe() override { return recipe_; }
  Module& build(bool checkpoint_activations) override;
  StepInputs inputs(const Batch& batch, const StepPlace& place) override;
  BatchLoss loss(const std::vector<Tensor>& tensors) override;
  void after_step(const StepPlace& place, double loss, const Figures&) override {
    mask_ratio_.heard(place, loss);
  }
  std::vector<std::string> remarks() override { return mask_ratio_.remarks(); }
  Evaluation evaluate(int64_t step) override;
  std::unique_ptr<VitEncoder> encoder() const override;
  std::vector<NamedTensor> state() override { return mask_ratio_.state(); }
  TaskCost cost(bool checkpoint_activations) const override;

 private:
  MaeRecipe recipe_;
  MaskRatio mask_ratio_;
  std::unique_ptr<Mae> model_;
  std::optional<ReconstructionScores> fills_;  // the same pictures and masks: counted once
};

}  // namespace tessera
