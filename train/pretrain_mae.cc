// The masked autoencoder's recipe, loss and pictures.
#include "train/pretrain_mae.h"

#include <algorithm>
#include <span>

#include "models/flops.h"
#include "models/transfer.h"
#include "train/picture_batches.h"

namespace tessera {
namespace {

constexpr int64_t kEvaluationPictures = 256;  // under a second for a tiny model
constexpr int64_t kSheetPictures = 8;

}  // namespace

std::vector<RecipeField> MaeRecipe::fields() {
  std::vector<RecipeField> list = TrainingRecipe::fields();
  const RecipeField own[] = {
      {"patch-size", &model.patch},
      {"dim", &model.dim},
      {"depth", &model.depth},
      {"heads", &model.heads},
      {"mlp-ratio", &model.mlp_ratio},
      {"decoder-dim", &model.decoder_dim},
      {"decoder-depth", &model.decoder_depth},
      {"decoder-heads", &model.decoder_heads},
      {"norm-pix-loss", &model.norm_pix_loss},
      {"mask-ratio", &model.mask_ratio},
  };
  list.insert(list.end(), std::begin(own), std::end(own));
  const std::vector<RecipeField> schedule = mask_schedule.fields();
  list.insert(list.end(), schedule.begin(), schedule.end());
  return list;
}

void MaeRecipe::check() const {
  mask_schedule.check();
  for (const double ratio : mask_schedule.bounds(model.mask_ratio)) {
    MaeConfig asked = model;
    asked.mask_ratio = ratio;
    asked.check();
  }
  TrainingRecipe::check();
}

Module& MaeTask::build(bool checkpoint_activations) {
  model_ = std::make_unique<Mae>(recipe_.model, recipe_.seed);
  model_->set_checkpointing(checkpoint_activations);
  return *model_;
}

StepInputs MaeTask::inputs(const Batch& batch, const StepPlace& place) {
  const int64_t patches = recipe_.model.patches();
  const double ratio = mask_ratio_.at(place);
  const Tensor noise = mask_noise(batch.images.size(0), patches, recipe_.seed, place.iteration);
  const Masking masking = random_masking(noise, kept_patches(patches, ratio));
  StepInputs inputs = {masking.tensors(), {}};
  inputs.tensors.push_back(batch.images);
  if (!recipe_.mask_schedule.constant()) inputs.figures.emplace_back("mask_ratio", ratio);
  return inputs;
}

BatchLoss MaeTask::loss(const std::vector<Tensor>& tensors) {
  const Masking masking = Masking::of(std::span(tensors).first(tensors.size() - 1));
  return {model_->forward(tensors.back(), masking).loss, {}};
}

Evaluation MaeTask::evaluate(int64_t) {
  const EvaluationReader& reader = *data().judged;
  const Normalisation normalisation{recipe_.mean, recipe_.std};
  const bool with_fills = !fills_.has_value();
  const ReconstructionScores scores = evaluate_reconstruction(
      *model_, reader, normalisation, recipe_.model.mask_ratio, recipe_.seed, with_fills,
      spread_over(reader.size(), kEvaluationPictures));
  if (with_fills) fills_ = scores;
  Evaluation found;
  found.figures = {{"eval_psnr", scores.model}};
  found.summary = fmt::format(
      "{:.2f} dB on {} {}{} (fills: mean {:.2f}, nearest {:.2f}, bilinear {:.2f}, harmonic {:.2f})",
      scores.model, scores.images, data().judged_name,
      recipe_.model.norm_pix_loss ? ", given each patch's true mean and deviation" : "",
      fills_->mean, fills_->nearest, fills_->bilinear, fills_->harmonic);
  found.pictures.push_back(
      {"reconstruction",
       reconstruction_sheet(*model_, reader, normalisation, recipe_.model.mask_ratio, recipe_.seed,
                            spread_over(reader.size(), kSheetPictures))});
  return found;
}

std::unique_ptr<VitEncoder> MaeTask::encoder() const {
  auto encoder = std::make_unique<VitEncoder>(encoder_of(recipe_.model), FinalNorm::kTokens);
  encoder->load(*model_);
  return encoder;
}

TaskCost MaeTask::cost(bool checkpoint_activations) const {
  MaeConfig most = recipe_.model;  // most patches are seen where the least is hidden
  const auto [first, last] = recipe_.mask_schedule.bounds(most.mask_ratio);
  most.mask_ratio = std::min(first, last);
  const ModelCost cost = cost_of(most, {recipe_.precision, checkpoint_activations});
  return {cost.parameters, cost.step_flops,
          training_bytes(cost, recipe_.batch_size, recipe_.precision)};
}

}  // namespace tessera
