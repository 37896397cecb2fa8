// Attention forward on tensor cores, for bf16 and f16 and the lengths that ViTs have: a block a
// head, whose keys and values stay in shared memory; a warp 16 queries, 32 keys at a time.
// Rule: nothing of size (N, M) is kept, and no atomics: a warp owns the rows it writes.
//
// Work of a head: 4 N M d FLOP, in tiles; 2 (N + M) d elements read and written once, and its bias.
// At N = M = 197, d = 64: 9.9 MFLOP for 101 KB. Shared memory of a block in KB, N = M:
//   rows    d = 32   64    80    96   128
//     50       15   27    33    39    51
//    197       44   79    96   114   149
//    257       52   94   116   136   178
// Registers of a thread: 65, 123, 122, 126, 128; nothing spilled (nvcc 13.0, sm_90a; sm_80 alike).
#include "cuda/attention_tiles.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kKeptDims = 64;  // more queries in registers would leave too few of them

// Over the four lanes that share a row of sums.
template <class Combine>
__device__ float reduce_row(float x, Combine combine) {
  x = combine(x, shuffle_xor(x, 1));
  return combine(x, shuffle_xor(x, 2));
}

// Softmax over tiles of keys, as in attention.cu's attention_rows, of a lane's two rows: the
// weights replace the scores, and what was summed is rescaled when a larger score arrives.
struct RowSoftmax {
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  float rescale[2];

  __device__ void take(Sums (&s)[kTileColumns / 8]) {
    float higher[2] = {top[0], top[1]};
    for (const Sums& t : s) {
      for (int e = 0; e < 4; ++e) higher[e / 2] = Larger{}(higher[e / 2], t.x[e]);
    }
    float base[2];
    for (int r = 0; r < 2; ++r) {
      higher[r] = reduce_row(higher[r], Larger{});
      base[r] = higher[r] == -INFINITY ? 0 : higher[r];  // nothing but -inf so far
      rescale[r] = exp2f(top[r] - base[r]);
      sum[r] *= rescale[r];
      top[r] = higher[r];
    }
    for (Sums& t : s) {
      for (int e = 0; e < 4; ++e) {
        t.x[e] = exp2f(t.x[e] - base[e / 2]);
        sum[e / 2] += t.x[e];  // this lane's columns
      }
    }
  }
  __device__ void finish() {
    for (float& s : sum) s = reduce_row(s, Sum{});
  }
};

template <class T, int kDims>
__global__ void __launch_bounds__(kMostWarps* kWarp) attention_tiles(AttentionProblem a) {
  const int heads = static_cast<int>(a.heads), block = static_cast<int>(blockIdx.x);
  const int b = block / heads, h = block % heads;
  const int n = static_cast<int>(a.n), m = static_cast<int>(a.m);
  const int keys = static_cast<int>(whole_tiles(m));
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int lane = thread % kWarp, warp = thread / kWarp, warps = threads / kWarp;
  const Panel<kDims> k(0), v(keys), own(2 * keys + warp * kTileRows);
  k.load(HeadRows(a.k, b, h, m, a.d), 0, keys, thread, threads);
  v.load(HeadRows(a.v, b, h, m, a.d), 0, keys, thread, threads);
  wait_for_copies();
  __syncthreads();
  const HeadRows q(a.q, b, h, n, a.d), y(a.out, b, h, n, a.d);
  const BaseTwo<T> score(a, b, h);
  for (int first = warp * kTileRows; first < n; first += warps * kTileRows) {
    own.load(q, first, kTileRows, lane, kWarp);
    wait_for_copies();
    __syncwarp();
    const OwnRows<T, kDims, kDims <= kKeptDims> rows(own);
    RowSoftmax softmax;
    Sums out[kDims / 8] = {};
    for (int key = 0; key < keys; key += kTileColumns) {
      Sums s[kTileColumns / 8] = {};
      multiply_by_rows(s, rows, k, key);
      for (int t = 0; t < kTileColumns / 8; ++t) {
        for (int e = 0; e < 4; ++e) {
          const int i = first + sums_row(e), j = key + 8 * t + sums_column(e);
          s[t].x[e] = j < m ? score(s[t].x[e], i, j) : -INFINITY;
        }
      }
      softmax.take(s);
      for (Sums& sums : out) {
        for (int e = 0; e < 4; ++e) sums.x[e] *= softmax.rescale[e / 2];
      }
      multiply_by_columns<T, kDims>(out, s, v, key);
    }
    softmax.finish();
    own.template write<T>(y, first, out, 1 / softmax.sum[0], 1 / softmax.sum[1]);
    for (int r = 0; r < 2; ++r) {
      const int i = first + sums_row(2 * r);
      if (lane % 4 == 0 && i < n) {
        static_cast<float*>(a.lse)[(int64_t{b} * heads + h) * n + i] =
            softmax.top[r] * kLn2 + log_of(softmax.sum[r]);
      }
    }
  }
}

}  // namespace

void attention_by_tiles(const AttentionArgs& args) {
  if (args.out.numel() == 0) return;
  const AttentionProblem a(args);
  const int64_t warps = warps_for(a.n);
  visit_tiles(args.q.dtype, a.d, [&](auto element, auto dims) {
    using T = decltype(element);
    launch(attention_tiles<T, decltype(dims)::value>, a.images * a.heads,
           static_cast<int>(warps * kWarp), panel_bytes(a.d, a.m, warps, 1), stream(), a);
  });
}

}  // namespace tessera::cuda
