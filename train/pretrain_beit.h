// `tessera pretrain beit`: what BEiT adds to the training loop (Bao et al., 2021, arXiv 2106.08254;
// code beit/run_beit_pretraining.py): a tokenizer names the patches, the model guesses the names of
// those it does not see.
// Rule: masks depend on (seed, iteration) alone. Model and tokenizer look at one cut of a picture,
// each in its own size: the tokens' grid is the patches'.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/beit.h"
#include "models/block_masks.h"
#include "train/mask_schedule.h"
#include "train/token_cache.h"
#include "train/tokenizer_recipe.h"
#include "train/training.h"

namespace tessera {

enum class MaskKind : uint8_t {
  kBlock,       // rectangles, as the reference draws them: at most so many patches
  kBlockExact,  // the same, filled up patch by patch
  kRandom,      // patch by patch
};
const char* name_of(MaskKind kind);  // "block", "block-exact", "random"
MaskKind mask_kind_from_name(std::string_view name);

struct BeitRecipe : TrainingRecipe {
  // The reference's colour jitter, for new runs on random crops. Not the field's first
  // value: a file that lacks it is of a run without jitter.
  static constexpr double kReferenceJitter = 0.4;
  // The largest gradient norm of new runs: the paper's hyperparameters have 3, and 1 for the large
  // model.
  static double reference_clip(std::string_view arch) { return arch == "vit_large" ? 1 : 3; }

  BeitConfig model;  // its vocabulary is the tokenizer's
  MaskKind mask = MaskKind::kBlock;
  double mask_ratio = 0.385;  // 75 of 14 x 14
  MaskRatioOptions mask_schedule;
  // Of a rectangle, in patches; 0: the reference's 16 of 14 x 14, and the mask's target.
  int64_t min_block = 0, max_block = 0;
  std::string tokenizer_id;  // TrainedTokenizer::id, filled in by the run

  BeitRecipe();
  std::string task() const override { return "pretrain-beit"; }
  std::string command() const override { return "pretrain beit"; }
  PictureFields picture() override {
    return {model.image_height, model.image_width, model.channels};
  }
  std::vector<RecipeField> fields() override;
  void check() const override;

  int64_t target(double ratio) const;  // patches to be masked
  BlockMaskOptions block_options(int64_t target) const;
  // The picture that the tokenizer must see for one token a patch.
  int64_t tokenizer_height(int64_t reduction) const { return model.grid().rows * reduction; }
  int64_t tokenizer_width(int64_t reduction) const { return model.grid().columns * reduction; }
};

class BeitTask : public TrainingTask {
 public:
  // cache: the file for token ids, "" for none (train/token_cache.h); a dry run does without. A
  // UsageError for a tokenizer that is not the run's, or knows other channels; for a cache where
  // the augmentation shows a picture anew each time. The tokenizer works where it is.
  BeitTask(const BeitRecipe& recipe, TrainedTokenizer tokenizer, std::string cache, bool dry_run);

  BeitRecipe& recipe() override { return recipe_; }
  void open(const TrainingData& data) override;
  void configure(DataOptions& options) const override;
  Module& build(bool checkpoint_activations) override;
  std::vector<ParameterGroup> groups() const override;
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
  int64_t span() const { return tokenizer_.model->reduction(); }
  Tensor seen(const Tensor& pictures) const;       // host pictures in [0, 1] as the model gets them
  Tensor tokens_of(const Tensor& pictures) const;  // (B, C, h, w) -> (B, L) i64
  Tensor evaluation_mask(int64_t picture) const;   // (1, L) bool
  Image prediction_sheet(const std::vector<int64_t>& pictures) const;

  BeitRecipe recipe_;
  TrainedTokenizer tokenizer_;
  std::string cache_path_;
  MaskRatio mask_ratio_;
  std::unique_ptr<Beit> model_;
  std::optional<TokenCache> cache_;
  std::unique_ptr<EvaluationReader> judged_by_tokenizer_;  // the judged pictures in its size
};

}  // namespace tessera
