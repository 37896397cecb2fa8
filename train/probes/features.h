// Features of a data set: what a frozen encoder makes of every picture, as a table of numbers.
// Rule: the same bits for any number of threads; a picture's row does not depend on how far it
// stands from the others.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "data/evaluation.h"
#include "models/encoder.h"
#include "train/normalisation.h"

namespace tessera {

// What stands for a picture.
enum class Pool : uint8_t {
  kClass,   // its class token, (D)
  kMean,    // the mean over its patches' tokens, (D)
  kBoth,    // both side by side, (2 D)
  kTokens,  // every token, (1 + L, D)
};
const char* name_of(Pool pool);              // "class", "mean", "both", "tokens"
Pool pool_from_name(std::string_view name);  // UsageError that lists them

// On the host, wherever the encoder is: the table may be larger than a device's memory, and the
// probes that read it are small.
struct Features {
  Tensor values;                  // (N, blocks, R, D) f32; R rows: see FeatureRequest
  std::vector<int64_t> pictures;  // (N) by their number in the reader
  std::vector<int64_t> labels;    // (N)

  // One block's, by its place in the request: (N, ...). kTokens where all of them were asked for,
  // the others where not.
  Tensor of(int64_t place, Pool pool) const;
};

struct FeatureRequest {
  std::vector<int64_t> pictures;  // by their number in the reader
  std::vector<int64_t> blocks;    // from 1 to the encoder's depth
  bool all_tokens = false;        // R = 1 + L; else R = 2: class token, mean of the patches
};

// What leaves the named blocks for the named pictures. The last block's tokens have been through
// the encoder's final norm, as a model's own head gets them; those of others have not. Pictures
// that cannot be decoded are passed over.
Features extract_features(const VitEncoder& encoder, const Normalisation& normalisation,
                          const EvaluationReader& reader, const FeatureRequest& request,
                          const std::function<void(int64_t)>& progress = {});

}  // namespace tessera
