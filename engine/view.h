// View: the plain description of a strided array that crosses the waist into a backend.
// Rule: no ownership, no methods that allocate; strides count elements and may be 0 (broadcast)
// or negative (flip).
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "engine/shape.h"

namespace tessera {

struct View {
  void* data = nullptr;  // the element at index (0, ..., 0)
  DType dtype = DType::kF32;
  int ndim = 0;
  int64_t shape[kMaxDims] = {};
  int64_t stride[kMaxDims] = {};

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < ndim; ++i) n *= shape[i];
    return n;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

}  // namespace tessera
