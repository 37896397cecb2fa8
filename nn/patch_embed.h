// Patch embedding and the fixed positions of its tokens.
// Rule: the projection is the convolution of the official code (proj.weight (D, C, p, p)), but it
// runs as one product over patch vectors, so that only the patches somebody asks for are embedded.
#pragma once

#include "nn/layers.h"

namespace tessera {

class PatchEmbed : public Module {
 public:
  PatchEmbed(int64_t channels, int64_t patch, int64_t dim);
  // Of patch_vectors() (B, K, C p p) -> (B, K, D).
  Tensor operator()(const Tensor& vectors) const;

 private:
  Conv2d proj_;
};

// The sin-cos table of MAE (util/pos_embed.py), f32 (1, 1 + height * width, dim): row 0, the class
// token, is zero; then the grid row by row. The first half of a row encodes the COLUMN, the second
// the row; each half is [sin(p w_i) | cos(p w_i)] with w_i = 10000^(-i / (dim / 4)). Computed in
// f64. UsageError unless dim is a multiple of 4.
Tensor sincos_positions(int64_t dim, int64_t height, int64_t width);

}  // namespace tessera
