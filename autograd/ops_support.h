// What several families of ops share.
#pragma once

#include "engine/tensor.h"

namespace tessera {

// The view of a tensor that may be undefined: then one without data.
inline View view_or_none(const Tensor& t) { return t.defined() ? t.view() : View{}; }

// Of sums over rows of x, kept for backward: f32, or f64 for f64.
inline DType statistics_dtype(const Tensor& x) {
  return x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
}

}  // namespace tessera
