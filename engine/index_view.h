// The positions that gather and scatter_add are told, as every backend's loops read them.
// Rule: made by the host from an i64 View (outer, k, inner) of any strides; kernels may ask it,
// too.
#pragma once

#include <cstdint>

#include "engine/view.h"

namespace tessera {

struct IndexView {
  const int64_t* data;
  int64_t outer, middle, inner;  // strides

  explicit IndexView(const View& v)
      : data(v.as<const int64_t>()), outer(v.stride[0]), middle(v.stride[1]), inner(v.stride[2]) {}
  constexpr int64_t at(int64_t o, int64_t j, int64_t i) const {
    return data[o * outer + j * middle + i * inner];
  }
};

}  // namespace tessera
