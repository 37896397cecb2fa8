// The token ids of a whole set of pictures in a file, so that pre-training need not run the
// tokenizer again and again. Good where a picture is shown in the same cut every time, plain or
// mirrored: both are kept where mirrored ones are shown.
// Rule: the file says what it was made from (pictures as they are now, cut, tokenizer) and carries
// a sum over its ids. One that is damaged or made from anything else is noticed, said and made
// anew; so is one whose pictures were replaced under their names or are drawn in another size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/evaluation.h"
#include "engine/tensor.h"
#include "models/tokenizer.h"

namespace tessera {

// What ids depend on, as text.
struct TokenSource {
  std::string data;       // version_of (train/training_data.h) and holdout
  std::string cut;        // "64x64, plain and mirrored"
  std::string tokenizer;  // TrainedTokenizer::id
};

class TokenCache {
 public:
  // From the file at `path` where that was made from `source`; else made from the reader's pictures
  // (in the tokenizer's size, `tokens` of them each) and written there, atomically. What happens is
  // said on stderr. UsageError: a path that does not end in .safetensors, a file that is something
  // else.
  TokenCache(const std::string& path, const TokenSource& source, const Tokenizer& tokenizer,
             const EvaluationReader& reader, int64_t tokens, bool mirrored);

  // The pictures named by indices (B), mirrored where so marked: (B, L) i64. An Error names a
  // picture that could not be decoded when the cache was made.
  Tensor ids(const std::vector<int64_t>& indices, const std::vector<uint8_t>& mirrored) const;

 private:
  bool read(const std::string& path, const TokenSource& source, const Shape& expected);
  void make(const Tokenizer& tokenizer, const EvaluationReader& reader);
  void write(const std::string& path, const TokenSource& source) const;

  Tensor ids_;  // (N, 1 or 2, L) i32: plain, mirrored; -1: could not be decoded
};

}  // namespace tessera
