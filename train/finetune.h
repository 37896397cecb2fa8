// `tessera finetune`: a classifier from a pre-trained encoder, or from random weights by the same
// recipe. What MAE's main_finetune.py and BEiT's run_class_finetuning.py do: layer-wise decay of
// the learning rate, drop path, mixed batches with soft targets. Rule: the recipe holds the names
// of the classes; pictures of other classes are refused.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/evaluation.h"
#include "models/vit.h"
#include "train/normalisation.h"
#include "train/pretrained.h"
#include "train/training.h"

namespace tessera {

// The defaults are those of the MAE paper's Table 9 for a ViT-B.
struct FinetuneRecipe : TrainingRecipe {
  ClassifierConfig model;            // its number of classes follows `classes`
  std::vector<std::string> classes;  // in label order; filled in by the run
  std::string encoder;  // which weights it starts from (train/pretrained.h); "": random
  bool from_scratch = false;
  int64_t unfreeze_blocks = -1;  // only the last so many learn, norm and head beside them; < 0: all
  double layer_decay = 0.75;     // of the learning rate, from layer to layer towards the pictures
  double mixup = 0.8, cutmix = 1;  // alpha of Beta(alpha, alpha); 0: none
  double label_smoothing = 0.1;
  double rand_augment = 9;       // magnitude, 0 to 10; 0: none
  double random_erasing = 0.25;  // share of the pictures

  FinetuneRecipe();
  std::string task() const override { return "finetune"; }
  std::string command() const override { return "finetune"; }
  PictureFields picture() override {
    return {model.image_height, model.image_width, model.channels};
  }
  std::vector<RecipeField> fields() override;
  AugmentOptions augmentation() const override;
  MixOptions mixing() const;
  void check() const override;
};

class FinetuneTask : public TrainingTask {
 public:
  // checkpoint: where the encoder is, or, from scratch, whose beginning is to be trained instead.
  // "": weights are a classifier's own random ones, or come from the run that is resumed.
  explicit FinetuneTask(const FinetuneRecipe& recipe, const std::string& checkpoint = "")
      : recipe_(recipe), checkpoint_(checkpoint) {}

  FinetuneRecipe& recipe() override { return recipe_; }
  // UsageError: pictures without classes, or with others than the recipe's; names not in UTF-8.
  void open(const TrainingData& data) override;
  void configure(DataOptions& reading) const override;
  VitClassifier& build(bool checkpoint_activations) override;
  std::vector<ParameterGroup> groups() const override;
  StepInputs inputs(const Batch& batch, const StepPlace&) override {
    return {{batch.images, batch.targets}, {}};
  }
  BatchLoss loss(const std::vector<Tensor>& tensors) override;
  Evaluation evaluate(int64_t step) override;
  std::vector<std::string> remarks() override { return std::exchange(remarks_, {}); }
  TaskCost cost(bool checkpoint_activations) const override;

  // What open() does with the classes of the pictures in `data`.
  void take_classes(const std::vector<std::string>& names, const std::string& data);

 private:
  void say_head_left(const PretrainedEncoder& encoder);

  FinetuneRecipe recipe_;
  std::string checkpoint_;
  std::unique_ptr<VitClassifier> model_;
  std::vector<std::string> remarks_;
};

// What a classifier says of pictures.
struct Answers {
  std::vector<int64_t> pictures, labels;  // (N) of those that could be read
  Tensor logits;                          // (N, classes) f32, on the host
};
// With progress on stderr, without gradients. Error when not one picture could be read.
Answers answers_of(const VitClassifier& model, const Normalisation& normalisation,
                   const EvaluationReader& reader, std::span<const int64_t> pictures);

// A fine-tuned model out of a checkpoint, in evaluation mode, with the weights that the run's own
// evaluations judged.
struct TrainedClassifier {
  FinetuneRecipe recipe;
  std::unique_ptr<VitClassifier> model;
};
// UsageError: the checkpoint of another task.
TrainedClassifier load_classifier(const Checkpoint& checkpoint);

}  // namespace tessera
