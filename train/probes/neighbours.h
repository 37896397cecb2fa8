// Weighted k nearest neighbours on frozen features (Wu et al., 2018, "Unsupervised Feature Learning
// via Non-Parametric Instance Discrimination", section 3.4): a probe without anything to train.
#pragma once

#include <cstdint>
#include <span>

#include "engine/tensor.h"

namespace tessera {

struct NeighbourOptions {
  int64_t k = 20;
  double temperature = 0.07;

  void check(int64_t examples) const;  // UsageError
};

// Each of `queries` (M, D) f32 is compared with each of `examples` (N, D) by the cosine s of the
// angle between them; the k nearest (of equal ones the earlier) vote for their label with weight
// exp(s / temperature). -> (M, classes) f32: the votes, divided by their sum.
Tensor nearest_neighbours(const Tensor& examples, std::span<const int64_t> labels, int64_t classes,
                          const Tensor& queries, const NeighbourOptions& options);

}  // namespace tessera
