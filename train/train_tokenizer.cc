// Schedules, loss, and the codebook's monitor.
#include "train/train_tokenizer.h"

#include <algorithm>
#include <string_view>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "nn/step_random.h"
#include "train/picture_batches.h"
#include "train/schedule.h"

namespace tessera {
namespace {

constexpr int64_t kEvaluationPictures = 256;
constexpr int64_t kSheetPictures = 8;

// Of a run: before that the temperature is high and the KL term small, and few tokens are in use
// yet.
constexpr double kFirstWatched = 0.1;
constexpr char kCodesUsed[] = "codes_used", kPerplexity[] = "perplexity";

double figure(const Figures& figures, std::string_view name) {
  const auto found =
      std::find_if(figures.begin(), figures.end(), [&](const auto& f) { return f.first == name; });
  TESSERA_CHECK(found != figures.end(), "[tokenizer] a step without {}", name);
  return found->second;
}

// How far a schedule over `steps` has come, 0 to 1; < 0: over this share of the run.
double progress(const StepPlace& place, int64_t steps, double share_of_run) {
  const double length = steps >= 0 ? double(steps) : share_of_run * double(place.total_steps);
  return length > 0 ? std::min(double(place.step) / length, 1.0) : 1.0;
}

}  // namespace

Module& TokenizerTask::build(bool checkpoint_activations) {
  TESSERA_CHECK_USAGE(!checkpoint_activations,
                      "--checkpoint-activations: a tokenizer has no blocks to run again");
  model_ = make_tokenizer(recipe_);
  model_->initialize(recipe_.seed);
  const int64_t span = model_->reduction();
  watch_.emplace(model_->vocab(),
                 recipe_.batch_size * (recipe_.image_height / span) * (recipe_.image_width / span));
  return *model_;
}

StepInputs TokenizerTask::inputs(const Batch& batch, const StepPlace& place) {
  const double temperature =
      cosine_between(1, recipe_.temperature_end, progress(place, recipe_.temperature_steps, 0.5));
  const double kl_weight =
      cosine_between(0, recipe_.kl_weight, progress(place, recipe_.kl_steps, 0.05));
  return {{batch.images, Tensor::full({}, temperature), Tensor::full({}, kl_weight)},
          {{"temperature", temperature}, {"kl_weight", kl_weight}}};
}

BatchLoss TokenizerTask::loss(const std::vector<Tensor>& tensors) {
  const Tensor prepared = model_->prepare(tensors[0]);
  const int64_t span = model_->reduction();
  const Shape grid = {prepared.size(0), model_->vocab(), recipe_.image_height / span,
                      recipe_.image_width / span};
  const TokenizerStep step = {.temperature = tensors[1],
                              .kl_weight = tensors[2],
                              .straight_through = recipe_.straight_through};
  const Tensor gumbel =
      gumbel_noise(grid, StepRandom::current("gumbel noise").next(), prepared.device());
  const TokenizerOutput out = model_->forward(prepared, gumbel, step);
  CodeUsage usage(model_->vocab(), prepared.device());
  usage.add(argmax(out.logits.detach(), 1));
  return {out.loss,
          {{"reconstruction", out.reconstruction},
           {"kl", out.kl},
           {kCodesUsed, usage.used()},
           {kPerplexity, usage.perplexity()}}};
}

// A collapse is said once, when it is seen between evaluations, each of which judges for itself,
// and at the end of a run that has none.
void TokenizerTask::after_step(const StepPlace& place, double, const Figures& figures) {
  watch_->add(figure(figures, kCodesUsed), figure(figures, kPerplexity));
  const int64_t step = place.step + 1;
  const bool begins = double(step) < kFirstWatched * double(place.total_steps);
  const bool last = step == place.total_steps && recipe_.eval_every == 0;
  const bool now = !warned_ && !begins && watch_->settled();
  const std::string warning = now || last ? watch_->warning() : "";
  if (warning.empty()) return;
  warned_ = true;
  remarks_.push_back(fmt::format("step {}: {}", step, warning));
}

Evaluation TokenizerTask::evaluate(int64_t) {
  const EvaluationReader& reader = *data().judged;
  const TokenizerScores scores =
      evaluate_tokenizer(*model_, reader, spread_over(reader.size(), kEvaluationPictures));
  Evaluation found;
  found.figures = {{"eval_psnr", scores.psnr},
                   {"eval_mae", scores.mean_absolute_error},
                   {"eval_codes_used", scores.usage.used().item()},
                   {"eval_perplexity", scores.usage.perplexity().item()}};
  found.summary = fmt::format(
      "{:.2f} dB, mean error {:.4f} on {} {}; {} of {} tokens in use, perplexity {:.1f}",
      scores.psnr, scores.mean_absolute_error, scores.images, data().judged_name,
      scores.usage.used().item(), scores.usage.vocab(), scores.usage.perplexity().item());
  found.pictures.push_back(
      {"tokens", tokenizer_sheet(*model_, reader, spread_over(reader.size(), kSheetPictures))});
  const std::string warning = scores.usage.warning();
  if (!warning.empty()) found.warnings.push_back(warning);
  return found;
}

TaskCost TokenizerTask::cost(bool) const {
  const ModelCost cost = recipe_.cost();
  return {cost.parameters, cost.step_flops,
          training_bytes(cost, recipe_.batch_size, recipe_.precision)};
}

}  // namespace tessera
