// BEiT's recipe, loss and pictures.
#include "train/pretrain_beit.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "engine/words.h"
#include "models/flops.h"
#include "models/masks.h"
#include "train/normalisation.h"
#include "train/parameter_groups.h"
#include "train/picture_batches.h"
#include "train/sheet.h"
#include "train/vit_fields.h"

namespace tessera {
namespace {

constexpr int64_t kEvaluationPictures = 256;
constexpr int64_t kSheetPictures = 8;
constexpr int64_t kTokenizedPixels = 64 * 1024;  // at once: 64 pictures of 32 x 32
constexpr double kHidden = 0.5;                  // hidden patches are drawn mid-grey

constexpr Word<MaskKind> kMaskKinds[] = {{MaskKind::kBlock, "block"},
                                         {MaskKind::kBlockExact, "block-exact"},
                                         {MaskKind::kRandom, "random"}};

}  // namespace

const char* name_of(MaskKind kind) { return word_for(kMaskKinds, kind); }
MaskKind mask_kind_from_name(std::string_view name) {
  return choice_for(kMaskKinds, "--mask", name);
}

BeitRecipe::BeitRecipe() {
  arch = "vit_base";
  crop_scale = {0.08, 1.0};
  base_lr = 1.875e-4;  // 1.5e-3 for the reference's 2048 pictures a step
  min_lr = 1e-5;
  beta2 = 0.999;
  clip_grad = reference_clip(arch);
}

std::vector<RecipeField> BeitRecipe::fields() {
  std::vector<RecipeField> list = TrainingRecipe::fields();
  for (std::vector<RecipeField> part : {vit_fields(model), mask_schedule.fields()}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  list.push_back({"vocab", &model.vocab});
  list.push_back({"mask-ratio", &mask_ratio});
  list.push_back(word_field("mask", mask, mask_kind_from_name, name_of));
  list.push_back({"min-block", &min_block});
  list.push_back({"max-block", &max_block});
  list.push_back({"tokenizer-id", &tokenizer_id});
  return list;
}

int64_t BeitRecipe::target(double ratio) const {
  return static_cast<int64_t>(static_cast<double>(model.patches()) * ratio);
}

BlockMaskOptions BeitRecipe::block_options(int64_t target) const {
  BlockMaskOptions options;
  options.grid = model.grid();
  options.target = target;
  // The reference's share of the grid, as far as the mask and the grid leave room for it.
  const auto share = static_cast<int64_t>(std::lround(16.0 / 196.0 * double(model.patches())));
  const int64_t room = std::min(target, options.largest_block());
  options.min_block =
      min_block > 0 ? min_block : std::clamp<int64_t>(share, 1, std::max(room, int64_t{1}));
  options.max_block = max_block;
  options.exact = mask == MaskKind::kBlockExact;
  return options;
}

void BeitRecipe::check() const {
  model.check();
  mask_schedule.check();
  TESSERA_CHECK_USAGE(min_block >= 0 && max_block >= 0,
                      "--min-block and --max-block must not be negative, got {} and {}", min_block,
                      max_block);
  for (const double ratio : mask_schedule.bounds(mask_ratio)) {
    const int64_t patches = target(ratio);
    TESSERA_CHECK_USAGE(patches > 0 && patches < model.patches(),
                        "mask ratio {} of {} patches: at least one must be masked and one visible",
                        ratio, model.patches());
    if (mask != MaskKind::kRandom) block_options(patches).check();
  }
  TrainingRecipe::check();
}

BeitTask::BeitTask(const BeitRecipe& recipe, TrainedTokenizer tokenizer, std::string cache,
                   bool dry_run)
    : recipe_(recipe),
      tokenizer_(std::move(tokenizer)),
      cache_path_(std::move(cache)),
      mask_ratio_(recipe.mask_ratio, recipe.mask_schedule) {
  TESSERA_CHECK_USAGE(recipe_.tokenizer_id.empty() || recipe_.tokenizer_id == tokenizer_.id,
                      "--tokenizer: another one than the run was started with ({}, now {})",
                      recipe_.tokenizer_id, tokenizer_.id);
  TESSERA_CHECK_USAGE(tokenizer_.recipe.channels == recipe_.model.channels,
                      "--tokenizer: it knows pictures of {} channels, --channels is {}",
                      tokenizer_.recipe.channels, recipe_.model.channels);
  const bool same_cut = recipe_.augment == Augment::kNone || recipe_.augment == Augment::kFlip;
  TESSERA_CHECK_USAGE(cache_path_.empty() || same_cut,
                      "--token-cache: --augment {} shows every picture anew each time; none and "
                      "flip do not",
                      name_of(recipe_.augment));
  TESSERA_CHECK_USAGE(cache_path_.empty() || recipe_.color_jitter == 0,
                      "--token-cache: --color-jitter {} shows every picture anew each time; 0 does "
                      "not",
                      recipe_.color_jitter);
  if (dry_run) cache_path_.clear();
  recipe_.tokenizer_id = tokenizer_.id;
  recipe_.model.vocab = tokenizer_.model->vocab();
}

void BeitTask::open(const TrainingData& data) {
  TrainingTask::open(data);
  TESSERA_CHECK_USAGE(cache_path_.empty() || !data.split.train->endless(),
                      "--token-cache: no picture of an endless set comes twice; name a number, as "
                      "in builtin:50000");
  judged_by_tokenizer_ = std::make_unique<EvaluationReader>(
      data.judged_set, static_cast<int>(recipe_.tokenizer_height(span())),
      static_cast<int>(recipe_.tokenizer_width(span())), static_cast<int>(recipe_.model.channels));
}

void BeitTask::configure(DataOptions& options) const {
  if (!cache_path_.empty()) return;
  options.second_height = static_cast<int>(recipe_.tokenizer_height(span()));
  options.second_width = static_cast<int>(recipe_.tokenizer_width(span()));
}

Module& BeitTask::build(bool checkpoint_activations) {
  if (!cache_path_.empty()) {
    const int64_t height = recipe_.tokenizer_height(span()),
                  width = recipe_.tokenizer_width(span());
    const bool mirrored = recipe_.augment == Augment::kFlip;
    const TokenSource source = {
        fmt::format("{}, holdout {}", version_of(*data().split.train), recipe_.holdout),
        fmt::format("{}x{}, {}", height, width, mirrored ? "plain and mirrored" : "plain"),
        tokenizer_.id};
    const EvaluationReader pictures(data().split.train, static_cast<int>(height),
                                    static_cast<int>(width),
                                    static_cast<int>(recipe_.model.channels));
    cache_.emplace(cache_path_, source, *tokenizer_.model, pictures, recipe_.model.patches(),
                   mirrored);
  }
  model_ = std::make_unique<Beit>(recipe_.model, recipe_.seed);
  model_->set_checkpointing(checkpoint_activations);
  return *model_;
}

std::vector<ParameterGroup> BeitTask::groups() const {
  return vit_parameter_groups(*model_, recipe_.model.depth, 1, recipe_.weight_decay);
}

Tensor BeitTask::seen(const Tensor& pictures) const {
  const Normalisation normalisation{recipe_.mean, recipe_.std};
  return raw::to(normalisation.apply(pictures), model_->device());
}

Tensor BeitTask::tokens_of(const Tensor& pictures) const {
  const Autocast full(DType::kF32);  // ids must not depend on the run's precision
  const ObservedWork work("tokenizer");
  // A part of the batch at a time: logits are as many as the codebook has tokens.
  const int64_t count = pictures.size(0);
  const int64_t part =
      std::max<int64_t>(1, kTokenizedPixels / (pictures.size(2) * pictures.size(3)));
  std::vector<Tensor> ids;
  for (int64_t first = 0; first < count; first += part) {
    const int64_t last = std::min(first + part, count);
    ids.push_back(tokenizer_.model->encode(raw::slice(pictures, 0, first, last)));
  }
  return raw::reshape(raw::cat(ids, 0), {count, recipe_.model.patches()});
}

StepInputs BeitTask::inputs(const Batch& batch, const StepPlace& place) {
  const int64_t pictures = batch.images.size(0), patches = recipe_.model.patches();
  const double ratio = mask_ratio_.at(place);
  const int64_t target = recipe_.target(ratio);
  const Tensor ids = cache_ ? cache_->ids(batch.indices, batch.mirrored)
                            : tokens_of(raw::to(batch.second, model_->device()));
  const Tensor mask =
      recipe_.mask == MaskKind::kRandom
          ? random_masks(pictures, patches, target, recipe_.seed, place.iteration)
          : block_masks(pictures, recipe_.block_options(target), recipe_.seed, place.iteration);
  const MaskedPatches masked = masked_patches(mask, target);
  const double share = double(masked.count()) / double(pictures * patches);
  StepInputs inputs = {{batch.images, masked.mask, masked.tokens, ids}, {{"masked", share}}};
  if (!recipe_.mask_schedule.constant()) inputs.figures.emplace_back("mask_ratio", ratio);
  return inputs;
}

BatchLoss BeitTask::loss(const std::vector<Tensor>& tensors) {
  const BeitOutput out =
      model_->forward(tensors[0], {.mask = tensors[1], .tokens = tensors[2]}, tensors[3]);
  return {out.loss, {{"masked_accuracy", out.accuracy}}};
}

Tensor BeitTask::evaluation_mask(int64_t picture) const {
  const int64_t patches = recipe_.model.patches();
  const int64_t target = recipe_.target(recipe_.mask_ratio);
  const RandomKey key = {recipe_.seed, static_cast<uint32_t>(picture), kSiteEvaluationMask};
  if (recipe_.mask == MaskKind::kRandom) {
    const Masking masking = random_masking(raw::uniform({1, patches}, key), patches - target);
    return raw::to(masking.mask(), DType::kBool);
  }
  PhiloxStream random(key);
  const std::vector<uint8_t> mask = draw_block_mask(recipe_.block_options(target), random);
  return raw::to(Tensor::from(mask, {1, patches}), DType::kBool);
}

Evaluation BeitTask::evaluate(int64_t) {
  const EvaluationReader& reader = *data().judged;
  const int64_t target = recipe_.target(recipe_.mask_ratio);
  double loss = 0, accuracy = 0;
  int64_t predicted = 0, pictures = 0;
  const auto judge = [&](const PictureBatch& batch) {
    std::vector<Tensor> masks;
    for (const int64_t i : batch.pictures) masks.push_back(evaluation_mask(i));
    const MaskedPatches masked = masked_patches(raw::cat(masks, 0), target);
    const PictureBatch second = read_batch(*judged_by_tokenizer_, batch.pictures);
    const BeitOutput out = model_->forward(seen(batch.images), masked, tokens_of(second.images));
    const int64_t count = masked.count();
    loss += out.loss.item() * double(count);
    accuracy += out.accuracy.item() * double(count);
    predicted += count;
    pictures += std::ssize(batch.pictures);
  };
  for_each_batch(reader, spread_over(reader.size(), kEvaluationPictures), judge);
  loss /= double(predicted);
  accuracy /= double(predicted);
  Evaluation found;
  found.figures = {{"eval_loss", loss}, {"eval_masked_accuracy", accuracy}};
  found.summary = fmt::format("{:.1f} % of {} masked tokens right, loss {:.3f}, on {} {}",
                              100 * accuracy, predicted, loss, pictures, data().judged_name);
  found.pictures.push_back(
      {"prediction", prediction_sheet(spread_over(reader.size(), kSheetPictures))});
  return found;
}

// From the left: original, what the model sees, what the picture's own tokens decode to, and the
// same with the model's tokens in the masked places.
Image BeitTask::prediction_sheet(const std::vector<int64_t>& pictures) const {
  const VitConfig& config = recipe_.model;
  const PictureBatch batch = read_batch(*data().judged, pictures);
  TESSERA_CHECK(batch.images.defined(), "none of {} pictures could be read", pictures.size());
  const int64_t count = std::ssize(batch.pictures);
  std::vector<Tensor> masks;
  for (const int64_t i : batch.pictures) masks.push_back(evaluation_mask(i));
  const Tensor mask = raw::cat(masks, 0);  // (B, L)
  const Tensor own = tokens_of(read_batch(*judged_by_tokenizer_, batch.pictures).images);
  const Tensor guess = raw::to(argmax(model_->predict(seen(batch.images), mask), 2), Device::kCpu);
  const Grid grid = config.grid();
  const auto decoded = [&](const Tensor& ids) {
    const Tensor picture =
        tokenizer_.model->decode(raw::reshape(ids, {count, grid.rows, grid.columns}));
    if (picture.size(2) == config.image_height && picture.size(3) == config.image_width) {
      return picture;
    }
    return interpolate(picture, config.image_height, config.image_width, InterpolateMode::kBilinear,
                       false, /*antialias=*/true);
  };
  const Tensor places =
      raw::reshape(raw::to(mask, DType::kF32), {count, 1, grid.rows, grid.columns});
  const Tensor hidden = raw::to(
      interpolate(places, config.image_height, config.image_width, InterpolateMode::kNearest),
      DType::kBool);
  return picture_sheet({batch.images, raw::where(hidden, Tensor::full({}, kHidden), batch.images),
                        decoded(own), decoded(raw::where(mask, guess, own))});
}

std::unique_ptr<VitEncoder> BeitTask::encoder() const {
  auto encoder = std::make_unique<VitEncoder>(recipe_.model, FinalNorm::kTokens);
  encoder->load(*model_);
  return encoder;
}

TaskCost BeitTask::cost(bool checkpoint_activations) const {
  const auto [first, last] = recipe_.mask_schedule.bounds(recipe_.mask_ratio);
  const int64_t target = recipe_.target(std::max(first, last));
  const ModelCost cost =
      cost_of(recipe_.model, target, {recipe_.precision, checkpoint_activations});
  const double tokenizer = 4.0 * double(tokenizer_.model->parameter_count());
  return {cost.parameters, cost.step_flops,
          training_bytes(cost, recipe_.batch_size, recipe_.precision) + tokenizer};
}

}  // namespace tessera
