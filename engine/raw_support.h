// What the raw ops share: checks with the op's name, and operands brought into a common form.
#pragma once

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera::raw {

inline void check_defined(const char* op, const Tensor& x) {
  TESSERA_CHECK(x.defined(), "[{}] a tensor is missing", op);
}
inline void check_floating(const char* op, const Tensor& x) {
  check_defined(op, x);
  TESSERA_CHECK(is_floating(x.dtype()), "[{}] needs a floating dtype: {}", op, describe(x));
}
inline void check_same(const char* op, const Tensor& a, const Tensor& b) {
  check_defined(op, a);
  check_defined(op, b);
  TESSERA_CHECK(a.dtype() == b.dtype(), "[{}] dtypes differ: {} and {}", op, describe(a),
                describe(b));
  TESSERA_CHECK(a.device() == b.device(), "[{}] devices differ: {} on {}, {} on {}", op,
                describe(a), name_of(a.device()), describe(b), name_of(b.device()));
}
// A bias of a, or the sum of its products: of a's dtype, or f32 where a has 16 bits.
inline void check_same_or_f32(const char* op, const Tensor& a, const Tensor& b) {
  check_defined(op, b);
  const bool is_half = a.dtype() == DType::kF16 || a.dtype() == DType::kBF16;
  if (!is_half || b.dtype() != DType::kF32) check_same(op, a, b);
}
inline void check_indices(const char* op, const Tensor& index) {
  check_defined(op, index);
  TESSERA_CHECK(index.dtype() == DType::kI64, "[{}] indices must be i64: {}", op, describe(index));
}

inline Tensor empty_like(const Tensor& x, const Shape& shape) {
  return Tensor::empty(shape, x.dtype(), x.device());
}

// A contiguous tensor seen as (outer, n, inner) around dimension dim.
struct Middle {
  int64_t outer = 1, n = 1, inner = 1;
};
inline Middle middle_of(const Shape& shape, int dim) {
  Middle m;
  for (int i = 0; i < dim; ++i) m.outer *= shape[i];
  if (dim < shape.size()) m.n = shape[dim];
  for (int i = dim + 1; i < shape.size(); ++i) m.inner *= shape[i];
  return m;
}
// The view of contiguous data under another shape.
inline View reshaped_view(const Tensor& contiguous, const Shape& shape) {
  View v = contiguous.view();
  const Strides strides = contiguous_strides(shape);
  v.ndim = shape.size();
  for (int i = 0; i < v.ndim; ++i) {
    v.shape[i] = shape[i];
    v.stride[i] = strides[i];
  }
  return v;
}

}  // namespace tessera::raw
