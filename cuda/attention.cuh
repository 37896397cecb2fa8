// What both roads of attention are told: (B, H, rows, d) arrays as kernels take them.
// Rule: plain data, copied to the device with the launch.
#pragma once

#include "cuda/group.cuh"
#include "engine/backend.h"

namespace tessera::cuda {

// (B, H, rows, d) of any strides but the last, which is 1; data == nullptr: none.
struct Heads {
  void* data;
  DType dtype;
  int64_t stride[4];

  explicit Heads(const View& v) : data(v.data), dtype(v.dtype) {
    for (int d = 0; d < 4; ++d) stride[d] = v.ndim == 4 ? v.stride[d] : 0;
  }
  __device__ int64_t row(int64_t b, int64_t h, int64_t i) const {
    return b * stride[0] + h * stride[1] + i * stride[2];
  }
};

struct AttentionProblem {
  Heads q, k, v, bias, out;
  void* lse;  // (B, H, N) of the compute type
  double scale;
  int64_t images, heads, n, m, d;

  explicit AttentionProblem(const AttentionArgs& a)
      : q(a.q),
        k(a.k),
        v(a.v),
        bias(a.bias),
        out(a.out),
        lse(a.lse.data),
        scale(a.scale),
        images(a.q.shape[0]),
        heads(a.q.shape[1]),
        n(a.q.shape[2]),
        m(a.k.shape[2]),
        d(a.q.shape[3]) {}
};

}  // namespace tessera::cuda
