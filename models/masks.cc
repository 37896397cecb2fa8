// Random masking: one stable argsort a picture, the rest is bookkeeping with indices.
// Rule: tensors are read and written whole, on the host.
#include "models/masks.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "engine/raw.h"

namespace tessera {
namespace {

constexpr Tensor Masking::*kTensors[] = {&Masking::ids_keep,       &Masking::ids_removed,
                                         &Masking::visible_tokens, &Masking::removed_tokens,
                                         &Masking::ids_restore,    &Masking::decoder_rows};
static_assert(sizeof(Masking) == std::size(kTensors) * sizeof(Tensor), "one is forgotten");

}  // namespace

Tensor Masking::mask() const {
  const int64_t first_removed = kept();
  std::vector<float> mask;
  for (const int64_t place : ids_restore.to_vector<int64_t>()) {
    mask.push_back(place < first_removed ? 0.0f : 1.0f);
  }
  return Tensor::from(mask, ids_restore.shape(), ids_restore.device());
}

Masking Masking::to(Device device) const {
  Masking there;
  for (const auto tensor : kTensors) there.*tensor = raw::to(this->*tensor, device);
  return there;
}

std::vector<Tensor> Masking::tensors() const {
  std::vector<Tensor> all;
  for (const auto tensor : kTensors) all.push_back(this->*tensor);
  return all;
}

Masking Masking::of(std::span<const Tensor> tensors) {
  TESSERA_CHECK(tensors.size() == std::size(kTensors), "[masking] {} tensors, there are {}",
                tensors.size(), std::size(kTensors));
  Masking masking;
  for (size_t i = 0; i < tensors.size(); ++i) masking.*kTensors[i] = tensors[i];
  return masking;
}

Tensor tokens_of(const Tensor& patches) {
  const int64_t batch = patches.size(0), listed = patches.size(1);
  const std::vector<int64_t> ids = patches.to_vector<int64_t>();
  std::vector<int64_t> tokens;
  for (int64_t b = 0; b < batch; ++b) {
    tokens.push_back(0);
    for (int64_t i = 0; i < listed; ++i) tokens.push_back(1 + ids[b * listed + i]);
  }
  return Tensor::from(tokens, {batch, 1 + listed}, patches.device());
}

int64_t kept_patches(int64_t patches, double mask_ratio) {
  return static_cast<int64_t>(static_cast<double>(patches) * (1 - mask_ratio));
}

Tensor mask_noise(int64_t batch, int64_t patches, uint64_t seed, uint32_t iteration) {
  return raw::uniform({batch, patches}, RandomKey{seed, iteration, kSiteMask});
}

Masking random_masking(const Tensor& noise, int64_t kept) {
  TESSERA_CHECK(noise.ndim() == 2, "[random_masking] noise {} should be (pictures, patches)",
                describe(noise));
  const int64_t batch = noise.size(0), patches = noise.size(1), removed = patches - kept;
  TESSERA_CHECK(kept > 0 && removed > 0,
                "[random_masking] of {} patches {} cannot stay: at least one must be visible and "
                "one removed",
                patches, kept);
  const std::vector<float> values = noise.to_vector<float>();
  std::vector<int64_t> keep, gone, gone_tokens, restore(values.size()), rows;
  std::vector<int64_t> order(static_cast<size_t>(patches));
  for (int64_t b = 0; b < batch; ++b) {
    const float* row = values.data() + b * patches;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [row](int64_t i, int64_t j) { return row[i] < row[j]; });
    keep.insert(keep.end(), order.begin(), order.begin() + kept);
    gone.insert(gone.end(), order.begin() + kept, order.end());
    int64_t* place = restore.data() + b * patches;
    for (int64_t i = 0; i < patches; ++i) place[order[i]] = i;
    rows.push_back(0);  // the class token
    for (int64_t i = 0; i < patches; ++i) rows.push_back(1 + std::min(place[i], kept));
  }
  for (const int64_t patch : gone) gone_tokens.push_back(patch + 1);
  const Device device = noise.device();
  const Tensor ids_keep = Tensor::from(keep, {batch, kept}, device);
  return {.ids_keep = ids_keep,
          .ids_removed = Tensor::from(gone, {batch, removed}, device),
          .visible_tokens = tokens_of(ids_keep),
          .removed_tokens = Tensor::from(gone_tokens, {batch, removed}, device),
          .ids_restore = Tensor::from(restore, {batch, patches}, device),
          .decoder_rows = Tensor::from(rows, {batch, 1 + patches}, device)};
}

Tensor MaskedPatches::labels(const Tensor& token_ids) const {
  TESSERA_CHECK(
      token_ids.defined() && token_ids.shape() == mask.shape() && token_ids.dtype() == DType::kI64,
      "[masked_patches] visual tokens {} do not fit patches {}", describe(token_ids),
      describe(mask));
  // Token 0, the class token, has no visual token: what pads the list finds the ignored label.
  const Tensor ignored =
      Tensor::full({token_ids.size(0), 1}, double(kIgnoredLabel), DType::kI64, tokens.device());
  return raw::gather(raw::cat({ignored, raw::to(token_ids, tokens.device())}, 1), 1, tokens);
}

MaskedPatches MaskedPatches::to(Device device) const {
  return {.mask = raw::to(mask, device), .tokens = raw::to(tokens, device)};
}

int64_t MaskedPatches::count() const {
  const std::vector<uint8_t> masked = raw::to(mask, DType::kU8).to_vector<uint8_t>();
  return std::accumulate(masked.begin(), masked.end(), int64_t{0});
}

MaskedPatches masked_patches(const Tensor& mask, int64_t target) {
  TESSERA_CHECK(mask.defined() && mask.ndim() == 2 && mask.dtype() == DType::kBool && target > 0,
                "[masked_patches] needs a bool mask (pictures, patches) and a target above 0: {}, "
                "{}",
                describe(mask), target);
  const int64_t batch = mask.size(0), patches = mask.size(1);
  const std::vector<uint8_t> masked = raw::to(mask, DType::kU8).to_vector<uint8_t>();
  std::vector<int64_t> tokens(static_cast<size_t>(batch * target), 0);
  bool any = false;
  for (int64_t b = 0; b < batch; ++b) {
    int64_t listed = 0;
    for (int64_t i = 0; i < patches; ++i) {
      if (masked[b * patches + i] == 0) continue;
      TESSERA_CHECK(listed < target, "[masked_patches] picture {} has more than {} masked patches",
                    b, target);
      tokens[b * target + listed++] = i + 1;
    }
    any = any || listed > 0;
  }
  TESSERA_CHECK(any, "[masked_patches] no patch of {} pictures is masked", batch);
  return {.mask = mask, .tokens = Tensor::from(tokens, {batch, target}, mask.device())};
}

Tensor random_masks(int64_t batch, int64_t patches, int64_t target, uint64_t seed,
                    uint32_t iteration) {
  TESSERA_CHECK_USAGE(target > 0 && target < patches,
                      "{} masked patches of {}: at least one must be masked and one visible",
                      target, patches);
  const Masking masking =
      random_masking(mask_noise(batch, patches, seed, iteration), patches - target);
  return raw::to(masking.mask(), DType::kBool);
}

}  // namespace tessera
