// BEiT's block-wise masks (arXiv 2106.08254, Algorithm 1; code masking_generator.py): rectangles
// are laid over the grid of patches until enough of it is covered.
// Rule: drawn on the host, picture b of a step from a stream of its own, so that a mask depends on
// (seed, step, b) alone.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/philox.h"
#include "engine/tensor.h"
#include "nn/relative_position.h"

namespace tessera {

struct BlockMaskOptions {
  Grid grid;                // of patches
  int64_t target = 75;      // masked patches at most; the reference stays below it now and then
  int64_t min_block = 16;   // a block's area is drawn from [min_block, what is missing]
  int64_t max_block = 0;    // and holds no more new patches than this; 0: target
  double min_aspect = 0.3;  // of a block: log-uniform in [min_aspect, 1 / min_aspect]
  // Patches that are still missing when no more block fits are drawn one by one, so that every
  // picture has `target` of them (BEiT v2).
  bool exact = false;

  // Patches of the largest rectangle that leaves a row and a column of the grid and keeps to
  // min_aspect; 0 where the grid is a single row or column.
  int64_t largest_block() const;
  // A UsageError, one line with the values, for a target that cannot be met.
  void check() const;
};

// One picture's mask, row by row: 1 masked, 0 visible. Never empty: where all ten tries at a first
// block fail (the reference's mask stays empty then; on 14 x 14 patches that does not happen), one
// of the largest that are allowed is laid anywhere, even if it is smaller than min_block.
std::vector<uint8_t> draw_block_mask(const BlockMaskOptions& options, PhiloxStream& random);

// (B, L) bool, for masked_patches() (models/masks.h).
Tensor block_masks(int64_t batch, const BlockMaskOptions& options, uint64_t seed,
                   uint32_t iteration);

}  // namespace tessera
