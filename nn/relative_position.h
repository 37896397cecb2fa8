// BEiT's relative position bias (arXiv 2106.08254, code modeling_finetune.py): for each head a
// learned number for every distance between two patches, added to the attention's logits.
// Rule: names, shapes and the order of a table's rows are the reference's.
#pragma once

#include <cstdint>

#include "nn/grid.h"
#include "nn/module.h"

namespace tessera {

// Rows of a table: (2 rows - 1)(2 columns - 1) distances between patches, row distance slowest,
// both from the most negative up; then class token to patch, patch to class token, class token to
// itself.
int64_t relative_distances(const Grid& grid);

// i64 (1 + L, 1 + L): the table's row for each query (first) and key, class token first.
Tensor relative_position_index(const Grid& grid);

// table (distances, heads), index (1 + L, 1 + L) -> (heads, 1 + L, 1 + L).
Tensor relative_position_bias(const Tensor& table, const Tensor& index);

// A table for all blocks of a model; it starts at zero.
class RelativePositionBias : public Module {
 public:
  RelativePositionBias(const Grid& grid, int64_t heads);
  Tensor operator()() const;  // (heads, 1 + L, 1 + L)

 private:
  Tensor table_, index_;
};

}  // namespace tessera
