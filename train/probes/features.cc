// Batch after batch into one table.
#include "train/probes/features.h"

#include <cstring>

#include "engine/error.h"
#include "engine/raw.h"
#include "engine/words.h"
#include "train/picture_batches.h"

namespace tessera {
namespace {

constexpr Word<Pool> kPools[] = {{Pool::kClass, "class"},
                                 {Pool::kMean, "mean"},
                                 {Pool::kBoth, "both"},
                                 {Pool::kTokens, "tokens"}};

}  // namespace

const char* name_of(Pool pool) { return word_for(kPools, pool); }
Pool pool_from_name(std::string_view name) { return choice_for(kPools, "--pool", name); }

Tensor Features::of(int64_t place, Pool pool) const {
  const Tensor all = raw::contiguous(raw::select(values, 1, place));  // (N, R, D)
  if (pool == Pool::kTokens) return all;
  TESSERA_CHECK(all.size(1) == 2, "[features] {} are not pooled", describe(all));
  if (pool == Pool::kBoth) return raw::reshape(all, {all.size(0), 2 * all.size(2)});
  return raw::contiguous(raw::select(all, 1, pool == Pool::kClass ? 0 : 1));
}

Features extract_features(const VitEncoder& encoder, const Normalisation& normalisation,
                          const EvaluationReader& reader, const FeatureRequest& request,
                          const std::function<void(int64_t)>& progress) {
  const int64_t depth = encoder.config().depth, dim = encoder.config().dim;
  const int64_t rows = request.all_tokens ? 1 + encoder.config().patches() : 2;
  for (const int64_t block : request.blocks) {
    TESSERA_CHECK_USAGE(block >= 1 && block <= depth, "block {}: this encoder has blocks 1 to {}",
                        block, depth);
  }
  Features features;
  const Tensor table =
      Tensor::empty({std::ssize(request.pictures), std::ssize(request.blocks), rows, dim});
  float* out = table.data<float>();
  const auto take = [&](const PictureBatch& batch) {
    const std::vector<Tensor> tokens =
        encoder.tokens(raw::to(normalisation.apply(batch.images), encoder.device()));
    std::vector<Tensor> taken;  // (B, 1, R, D) each
    for (const int64_t block : request.blocks) {
      const Tensor& x = tokens[static_cast<size_t>(block - 1)];
      const bool last = block == depth;
      const Tensor one = request.all_tokens ? encoder.finished(x, last) : encoder.pooled(x, last);
      taken.push_back(raw::reshape(one, {one.size(0), 1, rows, dim}));
    }
    const Tensor part = raw::to(raw::cat(taken, 1), Device::kCpu);
    std::memcpy(out, part.data<float>(), static_cast<size_t>(part.numel()) * sizeof(float));
    out += part.numel();
    for (const int64_t picture : batch.pictures) {
      features.pictures.push_back(picture);
      features.labels.push_back(reader.label(picture));
    }
  };
  for_each_batch(reader, request.pictures, take, progress);
  features.values = raw::slice(table, 0, 0, std::ssize(features.pictures));
  return features;
}

}  // namespace tessera
