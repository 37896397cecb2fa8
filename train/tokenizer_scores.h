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
