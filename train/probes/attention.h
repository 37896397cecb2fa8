// Where a picture's class token looks, as a sheet of pictures.
// Rule: every map is scaled for itself, from its least value to its largest: shades compare patches
// of one map, never two maps.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/evaluation.h"
#include "data/image.h"
#include "models/encoder.h"
#include "train/normalisation.h"

namespace tessera {

// How much of each patch is in the class token of one block, by the block's attention or by the
// rollout of all blocks up to it. Shares; the rest is the class token's own.
struct AttentionMap {
  std::string name;            // "mean", "rollout", "head 1", ...
  std::vector<float> patches;  // (L), row by row
};

// image (1, C, H, W) in [0, 1] -> for each named block (from 1) its maps: the mean over the heads,
// the rollout (models/encoder.h), every head.
std::vector<std::vector<AttentionMap>> class_attention(const VitEncoder& encoder,
                                                       const Normalisation& normalisation,
                                                       const Tensor& image,
                                                       std::span<const int64_t> blocks);

// The picture in grey with the map over it: dark where the map is least, through red and yellow to
// white where it is largest. image (C, H, W) in [0, 1]; the patches lie on `grid`.
Image attention_overlay(const Tensor& image, const std::vector<float>& patches, const Grid& grid);

// For every picture one row a block: the picture, then its maps, named above. Pictures that cannot
// be read are passed over; an Error when none is left.
Image attention_sheet(const VitEncoder& encoder, const Normalisation& normalisation,
                      const EvaluationReader& reader, std::span<const int64_t> pictures,
                      std::span<const int64_t> blocks);

}  // namespace tessera
