// Features of a data set: what a frozen encoder makes of every picture, as a table of numbers.
// Rule: the same bits for any number of threads; a picture's row does not depend on how far it
// stands from the others.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "data/evaluation.h"
#include "models/encoder.h"
#include "train/normalisation.h"

namespace tessera {

// What stands for a picture.
enum class Pool : uint8_t { kClass, kMean, kBoth };  // class token, mean of patches, side by side

inline constexpr Pool kPools[] = {Pool::kClass, Pool::kMean, Pool::kBoth};
const char* name_of(Pool pool);              // "class", "mean", "both"
Pool pool_from_name(std::string_view name);  // UsageError that lists them

struct Features {
  Tensor values;                  // (N, blocks, 2, D) f32: class token, mean of patches
  std::vector<int64_t> pictures;  // (N) by their number in the reader
  std::vector<int64_t> labels;    // (N)

  // The rows of one block, by its place in the list asked for: (N, D), or (N, 2 D) for kBoth.
  Tensor rows(int64_t block, Pool pool) const;
};

// The pooled tokens of the named blocks (from 1 to the encoder's depth) for the named pictures. The
// last block's tokens have been through the encoder's final norm, as a model's own head gets them;
// those of others have not. Pictures that cannot be decoded are passed over.
Features extract_features(const VitEncoder& encoder, const Normalisation& normalisation,
                          const EvaluationReader& reader, std::span<const int64_t> pictures,
                          std::span<const int64_t> blocks,
                          const std::function<void(int64_t)>& progress = {});

}  // namespace tessera
