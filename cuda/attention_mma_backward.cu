// The gradients of attention on tensor cores: one kernel with a head's keys and values in shared
// memory gives dq and the bias's gradient, one with its queries and dout gives dk and dv.
// Rule: both make P again from lse; a warp owns the 16 rows it writes, so there are no atomics. The
// bias's gradient is summed over a fixed number of image groups, in order, then over the groups.
//
// Work of a head: 6 N M d FLOP for dq and 8 N M d for dk and dv, 14 in place of the least possible
// 10: the scores are computed twice rather than kept or summed across warps. 9 arrays of (N, d) or
// (M, d) are read, 3 written. At N = M = 197, d = 64: 35 MFLOP for 303 KB. The bias's gradient adds
// 8 bytes an element of (N, M) and image, f32, mostly in the L2 cache. Shared memory of a block in
// KB, N = M, of dk and dv (dq: less by 8 bytes a row):
//   rows    d = 32   64    80    96   128
//     50       20   36    44    52    68
//    197       54   96   117   138   180
//    257       62  110   134   158   206
// The 163 KB of an A100 hold 448 rows of 64 dimensions, the 227 KB of an H100 672.
// Registers of a thread, the same dimensions: dq 126, 128, 168, 176, 196; dk and dv 121, 128, 198,
// 214, 240; nothing spilled (nvcc 13.0, sm_90a; sm_80 alike). Up to 128 registers, two blocks of 7
// warps run on a multiprocessor.
#include <algorithm>
#include <cstdlib>

#include "cuda/attention_tiles.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int64_t kImageGroups = 16;  // of the bias's gradient
constexpr int kKeptDims = 32;         // of two arrays in registers; more leaves too few of them

struct BackwardProblem {
  AttentionProblem forward;
  Heads dout, dq, dk, dv;
  float* delta;    // (B, H, N): the sum over d of dout out
  float* partial;  // (groups, H, tiles of N, 8 columns of M, 32 lanes, 4), or nullptr
  int64_t groups;  // of images
};

// For each of the 16 rows of two panels their product; lanes 2 r and 2 r + 1 have row r's.
template <class T, int kDims>
__device__ float row_products(const Panel<kDims>& x, const Panel<kDims>& y) {
  constexpr int kHalf = Panel<kDims>::kPieces / 2;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  float sum = 0;
  for (int p = lane % 2 * kHalf; p < (lane % 2 + 1) * kHalf; ++p) {
    const Piece a = x.piece(lane / 2, p), b = y.piece(lane / 2, p);
    for (int e = 0; e < 8; ++e) {
      sum = fma_of(unpack<T>(a.pair[e / 2], e % 2), unpack<T>(b.pair[e / 2], e % 2), sum);
    }
  }
  return sum + shuffle_xor(sum, 1);
}

template <class T, int kDims>
__global__ void __launch_bounds__(kMostWarps* kWarp, kDims <= 64 ? 2 : 1)
    attention_tiles_dq(BackwardProblem back) {
  const AttentionProblem& a = back.forward;
  const int heads = static_cast<int>(a.heads), block = static_cast<int>(blockIdx.x);
  const int group = block / heads, h = block % heads;
  const int n = static_cast<int>(a.n), m = static_cast<int>(a.m);
  const int keys = static_cast<int>(whole_tiles(m));
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int lane = thread % kWarp, warp = thread / kWarp, warps = threads / kWarp;
  const Panel<kDims> k(0), v(keys), own_q(2 * keys + 2 * warp * kTileRows),
      own_dout(2 * keys + (2 * warp + 1) * kTileRows);
  const auto first_image = static_cast<int>(group * a.images / back.groups);
  const auto last_image = static_cast<int>((group + 1) * a.images / back.groups);
  for (int b = first_image; b < last_image; ++b) {
    __syncthreads();  // the image before has been read
    k.load(HeadRows(a.k, b, h, m, a.d), 0, keys, thread, threads);
    v.load(HeadRows(a.v, b, h, m, a.d), 0, keys, thread, threads);
    wait_for_copies();
    __syncthreads();
    const HeadRows q(a.q, b, h, n, a.d), out(a.out, b, h, n, a.d), dout(back.dout, b, h, n, a.d);
    const BaseTwo<T> score(a, b, h);
    const int64_t row = (int64_t{b} * heads + h) * n;  // of lse and delta
    for (int first = warp * kTileRows; first < n; first += warps * kTileRows) {
      own_q.load(out, first, kTileRows, lane, kWarp);  // for a moment
      own_dout.load(dout, first, kTileRows, lane, kWarp);
      wait_for_copies();
      __syncwarp();
      const float product = row_products<T>(own_q, own_dout);
      if (lane % 2 == 0 && first + lane / 2 < n) back.delta[row + first + lane / 2] = product;
      __syncwarp();
      own_q.load(q, first, kTileRows, lane, kWarp);
      wait_for_copies();
      __syncwarp();
      float delta[2], lse[2];
      for (int r = 0; r < 2; ++r) {
        const int i = sums_row(2 * r);
        delta[r] = __shfl_sync(kWholeWarp, product, 2 * i);
        lse[r] = first + i < n ? static_cast<const float*>(a.lse)[row + first + i] * kLog2E
                               : INFINITY;  // P is 0 there
      }
      const OwnRows<T, kDims, kDims <= kKeptDims> q_rows(own_q), dout_rows(own_dout);
      Sums dq[kDims / 8] = {};
      for (int key = 0; key < keys; key += kTileColumns) {
        Sums s[kTileColumns / 8] = {}, ds[kTileColumns / 8] = {};
        multiply_by_rows(s, q_rows, k, key);
        multiply_by_rows(ds, dout_rows, v, key);
        for (int t = 0; t < kTileColumns / 8; ++t) {
          for (int e = 0; e < 4; ++e) {
            const int i = first + sums_row(e), j = key + 8 * t + sums_column(e);
            const float p = j < m ? exp2f(score(s[t].x[e], i, j) - lse[e / 2]) : 0;
            ds[t].x[e] = p * (ds[t].x[e] - delta[e / 2]);
          }
        }
        if (back.partial != nullptr) {
          const int row_tiles = (n + kTileRows - 1) / kTileRows;
          const int64_t tile =
              (int64_t{block} * row_tiles + first / kTileRows) * (keys / 8) + key / 8;
          auto* sums = reinterpret_cast<Pack<float, 4>*>(back.partial) + tile * kWarp + lane;
          for (int t = 0; t < kTileColumns / 8; ++t) {
            Pack<float, 4> sum = {};
            if (b > first_image) sum = sums[t * kWarp];
            for (int e = 0; e < 4; ++e) sum.at[e] += ds[t].x[e];
            sums[t * kWarp] = sum;
          }
        }
        multiply_by_columns<T, kDims>(dq, ds, k, key);
      }
      const auto scale = static_cast<float>(a.scale);
      own_q.template write<T>(HeadRows(back.dq, b, h, n, a.d), first, dq, scale, scale);
    }
  }
}

// A warp's rows are keys here, columns are queries.
template <class T, int kDims>
__global__ void __launch_bounds__(kMostWarps* kWarp, kDims <= 64 ? 2 : 1)
    attention_tiles_dkdv(BackwardProblem back) {
  // Of 64 dimensions, 32 queries would not leave registers enough for two blocks.
  constexpr int kColumns = kDims > 32 && kDims <= 64 ? 16 : kTileColumns;
  const AttentionProblem& a = back.forward;
  const int heads = static_cast<int>(a.heads), block = static_cast<int>(blockIdx.x);
  const int b = block / heads, h = block % heads;
  const int n = static_cast<int>(a.n), m = static_cast<int>(a.m);
  const int queries = static_cast<int>(whole_tiles(n));
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int lane = thread % kWarp, warp = thread / kWarp, warps = threads / kWarp;
  const Panel<kDims> q(0), dout(queries), own_k(2 * queries + 2 * warp * kTileRows),
      own_v(2 * queries + (2 * warp + 1) * kTileRows);
  const size_t panels =
      static_cast<size_t>(2 * queries + 2 * warps * kTileRows) * Panel<kDims>::kRowBytes;
  const Shared<float> lse = dynamic_shared<float>(panels);
  const Shared<float> delta = dynamic_shared<float>(panels + queries * sizeof(float));
  q.load(HeadRows(a.q, b, h, n, a.d), 0, queries, thread, threads);
  dout.load(HeadRows(back.dout, b, h, n, a.d), 0, queries, thread, threads);
  for (int i = thread; i < queries; i += threads) {
    const int64_t row = (int64_t{b} * heads + h) * n + i;
    lse[i] = i < n ? static_cast<const float*>(a.lse)[row] * kLog2E : INFINITY;  // P is 0 there
    delta[i] = i < n ? back.delta[row] : 0;
  }
  wait_for_copies();
  __syncthreads();
  const HeadRows k(a.k, b, h, m, a.d), v(a.v, b, h, m, a.d);
  const BaseTwo<T> score(a, b, h);
  for (int first = warp * kTileRows; first < m; first += warps * kTileRows) {
    own_k.load(k, first, kTileRows, lane, kWarp);
    own_v.load(v, first, kTileRows, lane, kWarp);
    wait_for_copies();
    __syncwarp();
    const OwnRows<T, kDims, kDims <= kKeptDims> k_rows(own_k), v_rows(own_v);
    Sums dk[kDims / 8] = {}, dv[kDims / 8] = {};
    for (int query = 0; query < queries; query += kColumns) {
      Sums p[kColumns / 8] = {}, ds[kColumns / 8] = {};
      multiply_by_rows(p, k_rows, q, query);
      multiply_by_rows(ds, v_rows, dout, query);
      for (int t = 0; t < kColumns / 8; ++t) {
        for (int e = 0; e < 4; ++e) {
          const int i = query + 8 * t + sums_column(e), j = first + sums_row(e);
          p[t].x[e] = exp2f(score(p[t].x[e], i, j) - lse[i]);
          ds[t].x[e] = p[t].x[e] * (ds[t].x[e] - delta[i]);
        }
      }
      multiply_by_columns<T, kDims>(dv, p, dout, query);
      multiply_by_columns<T, kDims>(dk, ds, q, query);
    }
    const auto scale = static_cast<float>(a.scale);
    own_k.template write<T>(HeadRows(back.dk, b, h, m, a.d), first, dk, scale, scale);
    own_v.template write<T>(HeadRows(back.dv, b, h, m, a.d), first, dv, 1, 1);
  }
}

// dbias (H, N, M): the groups' sums in order; a thread an element.
__global__ void __launch_bounds__(kRowBlock)
    sum_groups(BackwardProblem back, void* dbias, DType dtype) {
  const AttentionProblem& a = back.forward;
  const int64_t element = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (element >= a.heads * a.n * a.m) return;
  const int64_t h = element / (a.n * a.m), i = element / a.m % a.n, j = element % a.m;
  const int64_t row_tiles = (a.n + kTileRows - 1) / kTileRows, column_tiles = whole_tiles(a.m) / 8;
  // Where a lane has (i, j) of its tile: cuda/mma.cuh's Sums.
  const int64_t r = i % kTileRows, lane = r % 8 * 4 + j % 8 / 2, e = r / 8 * 2 + j % 2;
  const int64_t tile = (h * row_tiles + i / kTileRows) * column_tiles + j / 8;
  const int64_t stride = a.heads * row_tiles * column_tiles * kWarp * 4;
  const float* sums = back.partial + (tile * kWarp + lane) * 4 + e;
  float sum = 0;
  for (int64_t group = 0; group < back.groups; ++group) sum += sums[group * stride];
  store_element<float>(dbias, dtype, element, sum);
}

// What the second kernel asks for, the larger of the two for equal lengths.
size_t dkdv_bytes(const AttentionProblem& a) {
  return panel_bytes(a.d, a.n, warps_for(a.m), 2) +
         static_cast<size_t>(2 * whole_tiles(a.n)) * sizeof(float);
}
size_t dq_bytes(const AttentionProblem& a) { return panel_bytes(a.d, a.m, warps_for(a.n), 2); }

}  // namespace

// Forward asks for less than backward does: both take the same road.
bool takes_tiles(const AttentionArgs& args) {
  const AttentionProblem a(args);
  const bool half = a.q.dtype == DType::kF16 || a.q.dtype == DType::kBF16;
  // Offsets into a head's bias are 32 bits.
  const int64_t reach = std::abs(a.bias.stride[2]) * a.n + std::abs(a.bias.stride[3]) * a.m;
  return half && a.n > 0 && a.m > 0 && a.d <= kMostTileDims && reach < int64_t{1} << 31 &&
         dkdv_bytes(a) <= most_shared_bytes() && dq_bytes(a) <= most_shared_bytes();
}

void attention_by_tiles_backward(const AttentionBackwardArgs& args) {
  const AttentionProblem a(args.forward);
  const bool wants_bias = args.dbias.data != nullptr;
  const int64_t groups = wants_bias ? std::min(a.images, kImageGroups) : a.images;
  const int64_t tiles = ceil_div(a.n, kTileRows) * (whole_tiles(a.m) / 8);
  const int64_t partial = wants_bias ? groups * a.heads * tiles * kWarp * 4 : 0;
  const Scratch scratch(static_cast<size_t>(partial + a.images * a.heads * a.n) * sizeof(float));
  float* const memory = scratch.as<float>();
  const BackwardProblem back{a,
                             Heads(args.dout),
                             Heads(args.dq),
                             Heads(args.dk),
                             Heads(args.dv),
                             memory + partial,
                             wants_bias ? memory : nullptr,
                             groups};
  visit_tiles(args.forward.q.dtype, a.d, [&](auto element, auto dims) {
    using T = decltype(element);
    constexpr int kDims = decltype(dims)::value;
    launch(attention_tiles_dq<T, kDims>, groups * a.heads, static_cast<int>(warps_for(a.n) * kWarp),
           dq_bytes(a), stream(), back);
    launch(attention_tiles_dkdv<T, kDims>, a.images * a.heads,
           static_cast<int>(warps_for(a.m) * kWarp), dkdv_bytes(a), stream(), back);
  });
  if (!wants_bias) return;
  launch(sum_groups, ceil_div(a.heads * a.n * a.m, kRowBlock), kRowBlock, 0, stream(), back,
         args.dbias.data, args.dbias.dtype);
}

}  // namespace tessera::cuda
