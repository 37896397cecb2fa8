// Where the elements of several strided views of one shape lie, for kernels with one thread an
// element.
// Rule: dimensions are collapsed on the host (engine/collapse.h); divisions by a size become a
// multiplication and a shift where the element count fits 31 bits, plain divisions elsewhere.
#pragma once

#include <array>

#include "cuda/launch.h"
#include "engine/collapse.h"

namespace tessera::cuda {

// n / d for n < 2^31 without dividing (Granlund and Montgomery, PLDI 1994).
struct Divider {
  uint32_t divisor = 1, multiplier = 1, shift = 0;

  Divider() = default;
  explicit Divider(uint32_t d) : divisor(d) {
    while (shift < 32 && (uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<uint32_t>((((uint64_t{1} << shift) - d) << 32) / d + 1);
  }
  __host__ __device__ uint32_t divide(uint32_t n) const {
    const auto high = static_cast<uint32_t>((uint64_t{n} * multiplier) >> 32);
    return (high + n) >> shift;
  }
};

template <int N>
struct Offsets {
  int64_t at[N];
};

// The loops over N views, as a kernel takes them.
template <int N>
struct Strided {
  int ndim;
  bool wide;  // 2^31 elements or more
  int64_t numel;
  int64_t shape[kMaxDims];
  int64_t stride[N][kMaxDims];
  Divider divider[kMaxDims];

  explicit Strided(const LoopNest<N>& nest) : ndim(nest.ndim), numel(nest.numel) {
    wide = numel >= (int64_t{1} << 31);
    for (int d = 0; d < ndim; ++d) {
      shape[d] = nest.shape[d];
      if (!wide) divider[d] = Divider(static_cast<uint32_t>(shape[d]));
      for (int k = 0; k < N; ++k) stride[k][d] = nest.stride[k][d];
    }
  }

  // Element offsets of the index-th element, row-major over the collapsed shape.
  __device__ Offsets<N> offsets(int64_t index) const {
    Offsets<N> out;
    for (int k = 0; k < N; ++k) out.at[k] = 0;
    auto left = static_cast<uint32_t>(index);
    for (int d = ndim - 1; d >= 0; --d) {
      int64_t i;
      if (wide) {
        i = index % shape[d];
        index /= shape[d];
      } else {
        const uint32_t quotient = divider[d].divide(left);
        i = left - quotient * divider[d].divisor;
        left = quotient;
      }
      for (int k = 0; k < N; ++k) out.at[k] += i * stride[k][d];
    }
    return out;
  }
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace tessera::cuda
