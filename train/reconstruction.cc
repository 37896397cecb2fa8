// Judging a masked autoencoder on held-out pictures, and drawing what it answers.
// Batches are cut by the pictures' size alone, so a picture's score does not depend on who asks.
#include "train/reconstruction.h"

#include <algorithm>
#include <future>
#include <span>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/raw.h"
#include "models/reconstruct.h"
#include "train/fills.h"
#include "train/picture_batches.h"
#include "train/sheet.h"

namespace tessera {
namespace {

constexpr int64_t kBatchPixels = 64 * 1024;  // 64 pictures of 32 x 32, one of 256 x 256

constexpr float kHidden = 0.5f;  // hidden patches are drawn mid-grey

// Some pictures and the model's word on them, all in [0, 1] save for what the model overshoots.
struct Completion {
  std::vector<int64_t> ids;     // those that could be read
  Tensor truth;                 // (B, C, H, W)
  Tensor predicted;             // (B, C, H, W) every patch
  std::vector<uint8_t> hidden;  // (B, H, W): 1 in hidden pixels
};

Completion complete(const Mae& model, const EvaluationReader& reader,
                    const Normalisation& normalisation, double mask_ratio, uint64_t seed,
                    std::span<const int64_t> pictures, PassedOver& passed_over) {
  const MaeConfig& config = model.config();
  const PictureBatch batch = read_batch(reader, pictures);
  passed_over.note(batch);
  Completion result;
  result.ids = batch.pictures;
  if (result.ids.empty()) return result;

  result.truth = batch.images;
  std::vector<Tensor> noises;
  for (const int64_t i : result.ids) noises.push_back(evaluation_noise(i, config.patches(), seed));
  const Masking masking =
      random_masking(raw::cat(noises, 0), kept_patches(config.patches(), mask_ratio));
  const Reconstruction answer = reconstruct(model, normalisation.apply(result.truth), masking);
  result.predicted = normalisation.undo(answer.predicted);
  for (const float removed : answer.removed.to_vector<float>()) {
    result.hidden.push_back(removed != 0 ? 1 : 0);
  }
  return result;
}

// body(i) for i in [0, n) on as many threads as kernels may use; each i writes its own results.
template <class Body>
void for_each_on_threads(int64_t n, const Body& body) {
  const int64_t threads = std::clamp<int64_t>(num_threads(), 1, n);
  std::vector<std::future<void>> parts;
  for (int64_t t = 0; t < threads; ++t) {
    parts.push_back(std::async(std::launch::async, [=, &body] {
      for (int64_t i = t; i < n; i += threads) body(i);
    }));
  }
  for (std::future<void>& part : parts) part.get();
}

void check_mask_ratio(const MaeConfig& config, double mask_ratio) {
  MaeConfig asked = config;
  asked.mask_ratio = mask_ratio;
  asked.check();
}

}  // namespace

Tensor evaluation_noise(int64_t picture, int64_t patches, uint64_t seed) {
  return raw::uniform({1, patches},
                      RandomKey{seed, static_cast<uint32_t>(picture), kSiteEvaluationMask});
}

ReconstructionScores evaluate_reconstruction(const Mae& model, const EvaluationReader& reader,
                                             const Normalisation& normalisation, double mask_ratio,
                                             uint64_t seed, bool with_fills,
                                             const std::vector<int64_t>& pictures,
                                             const std::function<void(int64_t)>& progress) {
  const MaeConfig& config = model.config();
  check_mask_ratio(config, mask_ratio);
  const PictureSize size{config.channels, config.image_height, config.image_width};
  const int64_t values = size.channels * size.pixels();
  const auto wanted = std::ssize(pictures);
  const int64_t batch = std::max<int64_t>(1, kBatchPixels / size.pixels());

  ReconstructionScores total;
  PassedOver passed_over;
  for (int64_t first = 0; first < wanted; first += batch) {
    const int64_t last = std::min(first + batch, wanted);
    const std::vector<int64_t> part(pictures.begin() + first, pictures.begin() + last);
    const Completion done =
        complete(model, reader, normalisation, mask_ratio, seed, part, passed_over);
    const int64_t count = std::ssize(done.ids);
    if (count == 0) continue;

    std::vector<ReconstructionScores> scores(static_cast<size_t>(count));
    const float* truths = done.truth.data<float>();
    const Tensor predicted = raw::contiguous(done.predicted);
    const float* guesses = predicted.data<float>();
    for_each_on_threads(count, [&](int64_t b) {
      const Pixels truth(truths + b * values, static_cast<size_t>(values));
      const Pixels guess(guesses + b * values, static_cast<size_t>(values));
      const Mask hidden(done.hidden.data() + b * size.pixels(), static_cast<size_t>(size.pixels()));
      ReconstructionScores& score = scores[static_cast<size_t>(b)];
      score.model = masked_psnr(truth, guess, hidden, size);
      if (!with_fills) return;
      score.mean = masked_psnr(truth, fill_mean(truth, hidden, size), hidden, size);
      score.nearest = masked_psnr(truth, fill_nearest(truth, hidden, size), hidden, size);
      score.bilinear = masked_psnr(truth, fill_bilinear(truth, hidden, size), hidden, size);
      score.harmonic = masked_psnr(truth, fill_harmonic(truth, hidden, size), hidden, size);
    });
    for (const ReconstructionScores& score : scores) {
      total.model += score.model;
      total.mean += score.mean;
      total.nearest += score.nearest;
      total.bilinear += score.bilinear;
      total.harmonic += score.harmonic;
    }
    total.images += count;
    if (progress) progress(last);
  }
  passed_over.check_any_was_read();
  for (double* sum :
       {&total.model, &total.mean, &total.nearest, &total.bilinear, &total.harmonic}) {
    *sum /= static_cast<double>(total.images);
  }
  return total;
}

Image reconstruction_sheet(const Mae& model, const EvaluationReader& reader,
                           const Normalisation& normalisation, double mask_ratio, uint64_t seed,
                           const std::vector<int64_t>& pictures) {
  const MaeConfig& config = model.config();
  check_mask_ratio(config, mask_ratio);
  PassedOver passed_over;
  const Completion done =
      complete(model, reader, normalisation, mask_ratio, seed, pictures, passed_over);
  passed_over.check_any_was_read();
  const Shape grid = {std::ssize(done.ids), 1, config.image_height, config.image_width};
  const Tensor hidden = raw::to(Tensor::from(done.hidden, grid), DType::kBool);
  return picture_sheet({done.truth, raw::where(hidden, Tensor::full({}, kHidden), done.truth),
                        done.predicted, raw::where(hidden, done.predicted, done.truth)});
}

}  // namespace tessera
