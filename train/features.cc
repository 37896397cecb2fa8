// Batch after batch into one table.
#include "train/features.h"

#include <cstring>

#include "engine/error.h"
#include "engine/raw.h"
#include "train/picture_batches.h"

namespace tessera {

const char* name_of(Pool pool) {
  switch (pool) {
    case Pool::kClass:
      return "class";
    case Pool::kMean:
      return "mean";
    case Pool::kBoth:
      return "both";
  }
  return "?";
}

Pool pool_from_name(std::string_view name) {
  for (const Pool pool : kPools) {
    if (name == name_of(pool)) return pool;
  }
  throw UsageError(fmt::format("--pool {}: it is class, mean or both", name));
}

Tensor Features::rows(int64_t block, Pool pool) const {
  const Tensor all = raw::select(values, 1, block);  // (N, 2, D)
  if (pool == Pool::kBoth) return raw::reshape(all, {all.size(0), 2 * all.size(2)});
  return raw::contiguous(raw::select(all, 1, pool == Pool::kClass ? 0 : 1));
}

Features extract_features(const VitEncoder& encoder, const Normalisation& normalisation,
                          const EvaluationReader& reader, std::span<const int64_t> pictures,
                          std::span<const int64_t> blocks,
                          const std::function<void(int64_t)>& progress) {
  const int64_t depth = encoder.config().depth, dim = encoder.config().dim;
  for (const int64_t block : blocks) {
    TESSERA_CHECK_USAGE(block >= 1 && block <= depth, "block {}: this encoder has blocks 1 to {}",
                        block, depth);
  }
  Features features;
  const int64_t row = std::ssize(blocks) * 2 * dim;  // values a picture
  const Tensor table = Tensor::empty({std::ssize(pictures), std::ssize(blocks), 2, dim});
  float* out = table.data<float>();
  const auto take = [&](const PictureBatch& batch) {
    const std::vector<Tensor> tokens = encoder.tokens(normalisation.apply(batch.images));
    std::vector<Tensor> pooled;  // (B, 1, 2, D) each
    for (const int64_t block : blocks) {
      const Tensor one = encoder.pooled(tokens[static_cast<size_t>(block - 1)], block == depth);
      pooled.push_back(raw::reshape(one, {one.size(0), 1, 2, dim}));
    }
    const Tensor rows = raw::cat(pooled, 1);
    std::memcpy(out + std::ssize(features.pictures) * row, rows.data<float>(),
                static_cast<size_t>(rows.numel()) * sizeof(float));
    for (const int64_t picture : batch.pictures) {
      features.pictures.push_back(picture);
      features.labels.push_back(reader.label(picture));
    }
  };
  for_each_batch(reader, pictures, take, progress);
  features.values = raw::slice(table, 0, 0, std::ssize(features.pictures));
  return features;
}

}  // namespace tessera
