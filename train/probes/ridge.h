// Ridge regression from frozen features to class labels, solved to the end: a linear probe without
// schedule or luck.
// Rule: f64 throughout. Features are centred and brought to deviation 1 by the examples' figures;
// labels are one number a class, 1 for the picture's own and 0 for others, centred too.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

inline constexpr double kRidgeResidual = 1e-8;

struct RidgeSolution {
  Tensor weights;       // (D, C) f64
  double residual = 0;  // the largest of a column, over its target
};

// (gram + lambda I) w = target by conjugate gradients, every column of target (D, C) f64 for
// itself, beginning with `start` (the same shape, or undefined: zero), until the residual is
// kRidgeResidual. Where rounding keeps it from that for 20 D rounds it stops, and the residual says
// so. gram (D, D) symmetric, positive.
RidgeSolution solve_ridge(const Tensor& gram, double lambda, const Tensor& target,
                          const Tensor& start = {});

struct RidgeProbe {
  double lambda = 0;        // the chosen strength, a multiple of the number of examples
  double checked_top1 = 0;  // of the examples it was chosen on
  double residual = 0;      // of the last solution, see RidgeSolution
  Tensor scores;            // (M, classes) f32 for the queries
};

// Every fifth example is kept back, the others solve for each strength in kRidgeStrengths, and the
// one that names most of those kept back right (of equal ones the larger) solves for all examples.
// examples (N, D), queries (M, D) f32.
inline constexpr double kRidgeStrengths[] = {10, 1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
RidgeProbe ridge_probe(const Tensor& examples, std::span<const int64_t> labels, int64_t classes,
                       const Tensor& queries);

}  // namespace tessera
