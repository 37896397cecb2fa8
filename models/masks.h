// Which patches a masked model sees or must predict, as index lists.
// Rule: made on the host from numbers that a key names, so that a seed gives the same masks on
// every device and after a resume; a model moves these lists to where its pictures are, gathers by
// them and never reads them back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

// B pictures of L patches, K of them visible; every tensor i64. A "token" counts from the class
// token: patch i is token i + 1.
struct Masking {
  Tensor ids_keep;        // (B, K) visible patches in shuffled, not sorted, order
  Tensor ids_removed;     // (B, L - K) the others
  Tensor visible_tokens;  // (B, 1 + K) the class token, then the visible patches as tokens
  Tensor removed_tokens;  // (B, L - K) the removed ones as tokens
  Tensor ids_restore;     // (B, L) place of each patch in the shuffled order; >= K: removed
  Tensor decoder_rows;    // (B, 1 + L) each token's row in [class, K visible, one mask token]

  int64_t kept() const { return ids_keep.size(1); }
  int64_t patches() const { return ids_restore.size(1); }
  Tensor mask() const;  // (B, L) f32: 0 visible, 1 removed
  Masking to(Device device) const;

  // All tensors in one row, for whoever hands them on together, and back.
  std::vector<Tensor> tensors() const;
  static Masking of(std::span<const Tensor> tensors);
};

// Patches (B, K) as tokens behind the class token: (B, 1 + K). Read on the host.
Tensor tokens_of(const Tensor& patches);

// int(L (1 - ratio)) in double arithmetic, as the reference counts.
int64_t kept_patches(int64_t patches, double mask_ratio);

// Uniform noise (B, L) f32 for one step's random masks.
Tensor mask_noise(int64_t batch, int64_t patches, uint64_t seed, uint32_t iteration);

// The reference's random masking: of each row of noise (B, L) f32 the `kept` smallest stay; equal
// values stay in order. Error unless 0 < kept < L.
Masking random_masking(const Tensor& noise, int64_t kept);

// The label of a row that does not count in a loss.
inline constexpr int64_t kIgnoredLabel = -100;

// The patches that BEiT must predict, B pictures of L patches. Their number may differ from picture
// to picture; the list is as long for all of them.
struct MaskedPatches {
  Tensor mask;    // (B, L) bool: true where the mask token stands
  Tensor tokens;  // (B, T) i64: masked patches as tokens, ascending, then 0s, which are padding

  int64_t count() const;  // in all pictures: B T less the padding; read on the host
  // token_ids (B, L) i64 -> (B, T): the visual token of each listed patch, kIgnoredLabel where the
  // list is padded.
  Tensor labels(const Tensor& token_ids) const;
  MaskedPatches to(Device device) const;
};

// mask (B, L) bool, true: masked. Error when a picture has more than `target` of them, or none has
// any.
MaskedPatches masked_patches(const Tensor& mask, int64_t target);

// Of L patches `target` drawn at random, as many in every picture: (B, L) bool.
Tensor random_masks(int64_t batch, int64_t patches, int64_t target, uint64_t seed,
                    uint32_t iteration);

}  // namespace tessera
