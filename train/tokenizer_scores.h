// How good a tokenizer is: how well its tokens keep a picture, and how many of them it uses.
// Rule: a codebook of which little is used is said in plain words, whatever the loss is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/evaluation.h"
#include "data/image.h"
#include "models/tokenizer.h"

namespace tessera {

// How often each token was chosen; counted where the ids are.
class CodeUsage {
 public:
  explicit CodeUsage(int64_t vocab, Device device = Device::kCpu)
      : counts_(Tensor::zeros({vocab}, DType::kF64, device)) {}

  void add(const Tensor& ids);  // i64, any shape

  int64_t vocab() const { return counts_.numel(); }
  Tensor used() const;  // 0-d f64: tokens chosen at least once
  // 0-d f64: exp of the entropy of the counts; as many tokens, all as frequent, would be as varied.
  Tensor perplexity() const;
  // One line when the codebook has collapsed: under a fifth of the tokens that could have been seen
  // were chosen, or they are as varied as a twenty-fifth of them. Else empty.
  std::string warning() const;

 private:
  Tensor counts_;  // (V,)
};

// The same of a run's batches as they come, from the figures that each step logs: a collapse is
// said even where nothing is evaluated, and no step waits for it.
class CodeWatch {
 public:
  static constexpr int64_t kSteps = 100;  // that are looked back on

  // ids: of a batch.
  CodeWatch(int64_t vocab, int64_t ids) : vocab_(vocab), ids_(ids) {}

  void add(double used, double perplexity);  // of a batch, as CodeUsage counts
  // Whether so many steps have been seen that one odd batch decides nothing.
  bool settled() const { return steps_ >= kSteps; }
  // As CodeUsage::warning(), of a batch's mean.
  std::string warning() const;

 private:
  int64_t vocab_, ids_;
  int64_t steps_ = 0;
  double used_ = 0, perplexity_ = 0;  // moving averages
};

struct TokenizerScores {
  int64_t images = 0;
  double mean_absolute_error = 0;  // of values in [0, 1]
  double psnr = 0;                 // dB, the mean over pictures
  CodeUsage usage{0};
};

// Over the reader's `pictures`: encoded to ids and decoded again. A picture that cannot be decoded
// is passed over and named on stderr.
TokenizerScores evaluate_tokenizer(const Tokenizer& tokenizer, const EvaluationReader& reader,
                                   const std::vector<int64_t>& pictures,
                                   const std::function<void(int64_t)>& progress = {});

// One row a picture: the original, and what its tokens decode to.
Image tokenizer_sheet(const Tokenizer& tokenizer, const EvaluationReader& reader,
                      const std::vector<int64_t>& pictures);

}  // namespace tessera
