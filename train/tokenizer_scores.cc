// There and back again, and counting.
#include "train/tokenizer_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "train/picture_batches.h"
#include "train/sheet.h"

namespace tessera {
namespace {

// possible: as many tokens could have been seen. whose: " by a batch", or nothing.
std::string collapse_warning(double used, double perplexity, double possible, int64_t vocab,
                             std::string_view whose) {
  if (used >= possible / 5 && perplexity >= possible / 25) return "";
  return fmt::format(
      "warning: the codebook has collapsed: {:.0f} of {} tokens are in use{}, as varied as {:.1f}; "
      "a larger --kl-weight, more --temperature-steps, a higher --temperature-end or a smaller "
      "--base-lr keep more alive",
      used, vocab, whose, perplexity);
}

}  // namespace

void CodeUsage::add(const Tensor& ids) {
  const Tensor ones = Tensor::full({ids.numel()}, 1, DType::kF64, ids.device());
  counts_ = raw::scatter_add(counts_, 0, raw::reshape(ids, {-1}), ones);
}

Tensor CodeUsage::used() const { return sum(clamp(counts_, 0, 1)); }

Tensor CodeUsage::perplexity() const {
  const Tensor share = counts_ / sum(counts_);
  // Where nothing was counted 0 is what p ln p comes to.
  return exp(-sum(share * log(clamp(share, std::numeric_limits<double>::min(), 1))));
}

std::string CodeUsage::warning() const {
  const double possible = std::min(double(vocab()), sum(counts_).item());
  return collapse_warning(used().item(), perplexity().item(), possible, vocab(), "");
}

void CodeWatch::add(double used, double perplexity) {
  steps_ += 1;
  const double share = 1 / double(std::min(steps_, kSteps));
  used_ += share * (used - used_);
  perplexity_ += share * (perplexity - perplexity_);
}

std::string CodeWatch::warning() const {
  if (steps_ == 0) return "";
  return collapse_warning(used_, perplexity_, double(std::min(vocab_, ids_)), vocab_,
                          " by a batch");
}

TokenizerScores evaluate_tokenizer(const Tokenizer& tokenizer, const EvaluationReader& reader,
                                   const std::vector<int64_t>& pictures,
                                   const std::function<void(int64_t)>& progress) {
  const NoGrad no_grad;
  TokenizerScores scores;
  scores.usage = CodeUsage(tokenizer.vocab());
  const auto judge = [&](const PictureBatch& batch) {
    const Tensor ids = tokenizer.encode(batch.images);
    scores.usage.add(ids);
    const std::vector<float> truth = batch.images.to_vector<float>();
    const std::vector<float> answer = tokenizer.decode(ids).to_vector<float>();
    const size_t values = truth.size() / batch.pictures.size();  // of a picture
    for (size_t first = 0; first < truth.size(); first += values) {
      double absolute = 0, squared = 0;
      for (size_t i = first; i < first + values; ++i) {
        const double error = double(truth[i]) - double(answer[i]);
        absolute += std::abs(error);
        squared += error * error;
      }
      scores.mean_absolute_error += absolute / double(values);
      scores.psnr += -10 * std::log10(std::max(squared / double(values), 1e-10));
    }
    scores.images += std::ssize(batch.pictures);
  };
  for_each_batch(reader, pictures, judge, progress);
  scores.mean_absolute_error /= double(scores.images);
  scores.psnr /= double(scores.images);
  return scores;
}

Image tokenizer_sheet(const Tokenizer& tokenizer, const EvaluationReader& reader,
                      const std::vector<int64_t>& pictures) {
  const NoGrad no_grad;
  const PictureBatch batch = read_batch(reader, pictures);
  TESSERA_CHECK(batch.images.defined(), "none of {} pictures could be read", pictures.size());
  return picture_sheet({batch.images, tokenizer.decode(tokenizer.encode(batch.images))});
}

}  // namespace tessera
