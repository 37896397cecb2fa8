// One loop nest for several views of one shape, with the fewest dimensions that describe it.
// Rule: only for work whose elements are independent of each other, since the order of the
// dimensions is changed to suit the memory (largest stride of the first view outermost).
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>

#include "engine/view.h"

namespace tessera {

template <int N>
struct LoopNest {
  int ndim = 1;                                           // at least 1
  std::array<int64_t, kMaxDims> shape{};                  // the last is the innermost
  std::array<std::array<int64_t, kMaxDims>, N> stride{};  // elements
  int64_t numel = 1;

  int64_t inner() const { return shape[ndim - 1]; }
  int64_t rows() const { return numel == 0 ? 0 : numel / inner(); }

  // Element offsets of row `row` (all but the innermost index, row-major) for each view.
  std::array<int64_t, N> row_offsets(int64_t row) const {
    std::array<int64_t, N> at{};
    for (int d = ndim - 2; d >= 0; --d) {
      const int64_t i = row % shape[d];
      row /= shape[d];
      for (int k = 0; k < N; ++k) at[k] += i * stride[k][d];
    }
    return at;
  }
};

// The views must have the same shape (broadcasting done, stride 0).
template <int N>
LoopNest<N> collapse(const std::array<View, N>& views) {
  LoopNest<N> nest;
  int order[kMaxDims];
  int count = 0;
  for (int d = 0; d < views[0].ndim; ++d) {
    nest.numel *= views[0].shape[d];
    if (views[0].shape[d] != 1) order[count++] = d;
  }
  std::stable_sort(order, order + count, [&](int x, int y) {
    return std::abs(views[0].stride[x]) > std::abs(views[0].stride[y]);
  });
  int ndim = 0;
  for (int i = 0; i < count; ++i) {
    const int d = order[i];
    bool merge = ndim > 0;
    for (int k = 0; k < N && merge; ++k) {
      merge = nest.stride[k][ndim - 1] == views[k].stride[d] * views[k].shape[d];
    }
    if (!merge) nest.shape[ndim++] = 1;
    nest.shape[ndim - 1] *= views[0].shape[d];
    for (int k = 0; k < N; ++k) nest.stride[k][ndim - 1] = views[k].stride[d];
  }
  if (ndim == 0) nest.shape[ndim++] = 1;
  nest.ndim = ndim;
  return nest;
}

}  // namespace tessera
