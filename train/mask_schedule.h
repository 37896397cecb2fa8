// How much of a picture is hidden, from step to step: constant, growing or shrinking over the run,
// or driven by the loss.
// Rule: the ratio moves in at most 16 levels between its two bounds, so that a run knows few shapes
// of tensors; and a step's ratio depends on the loss of two steps before at the latest, so that
// nobody waits for the step that is still running, and it does not matter whether anybody did.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nn/module.h"
#include "train/recipe.h"
#include "train/training.h"

namespace tessera {

enum class MaskSchedule : uint8_t { kConstant, kLinear, kCosine, kLoss };
const char* name_of(MaskSchedule schedule);  // "constant", "linear", "cosine", "loss"
MaskSchedule mask_schedule_from_name(std::string_view name);

struct MaskRatioOptions {
  MaskSchedule schedule = MaskSchedule::kConstant;
  double end = -1;  // the ratio that the recipe's own leads to
  // kLoss: the average loss at which `end` is reached; < 0: half of the first loss.
  double loss_end = -1;

  bool constant() const { return schedule == MaskSchedule::kConstant; }
  // The two bounds, `start` first; one and the same where the ratio is constant.
  std::array<double, 2> bounds(double start) const { return {start, constant() ? start : end}; }
  std::vector<RecipeField> fields();  // all optional
  void check() const;                 // UsageError, one line
};

class MaskRatio {
 public:
  static constexpr int64_t kLevels = 16;

  MaskRatio(double start, const MaskRatioOptions& options);

  // The ratio of the step at `place`; linear and cosine go over the whole run. Steps come in order,
  // and all losses but the last step's have been heard.
  double at(const StepPlace& place);
  // After every step, in order. The average moves by a hundredth of the difference; what is not
  // finite is passed over.
  void heard(const StepPlace& place, double loss);
  // For TrainingTask::remarks(): once, when the first loss is as low as --mask-loss-end already and
  // the ratio jumps there at once.
  std::vector<std::string> remarks() { return std::exchange(remarks_, {}); }

  // For the checkpoint: "task/mask_ratio", of the kind kLoss alone.
  std::vector<NamedTensor> state() const;

 private:
  double progress(const StepPlace& place) const;
  double average_with_last() const;

  double start_;
  MaskRatioOptions options_;
  Tensor losses_;  // (3,) f64: the first, the average without the last step's, the last step's;
                   // NaN: not known yet, or not finite
  int64_t heard_ = -1;  // steps whose losses are in losses_; -1: those before the first that asks
  std::vector<std::string> remarks_;
};

}  // namespace tessera
