// Attention for every dtype, length and card: a warp for each row, nothing of size (N, M) kept.
// What attention_mma.cu takes goes there; this is the road for the rest and its twin in tests.
// Rule: 32 keys (or queries) at a time, a lane for each, in ascending order; then a lane for each
// dimension of the head adds up what they give. No atomics: a warp owns what it writes. Backward
// makes P again from lse.
#include "cuda/attention.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kRowsPerBlock = kRowBlock / kWarp;
constexpr int kMostDims = 256;             // of a head
constexpr int kParts = kMostDims / kWarp;  // dimensions of one lane

// Which row of (B, H, rows) a warp has.
struct Place {
  int64_t b, h, i;
  int lane, warp;
  bool inside;

  __device__ Place(int64_t images, int64_t heads, int64_t rows) {
    const int64_t row = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kWarp;
    b = row / rows / heads;
    h = row / rows % heads;
    i = row % rows;
    lane = static_cast<int>(threadIdx.x % kWarp);
    warp = static_cast<int>(threadIdx.x / kWarp);
    inside = row < images * heads * rows;
  }
};

// The warp's own row of a head in shared memory, for every lane to read.
template <class C>
struct OwnRow {
  Shared<C> memory;
  int64_t first;

  __device__ OwnRow(int slot, const Place& at, const Heads& x, int64_t d)
      : memory(dynamic_shared<C>()), first((slot * kRowsPerBlock + at.warp) * d) {
    for (int64_t e = at.lane; e < d; e += kWarp) {
      memory[first + e] = load_element<C>(x.data, x.dtype, x.row(at.b, at.h, at.i) + e);
    }
  }
  // Its product with another row, the dimensions in order.
  __device__ C dot(const Heads& x, int64_t row, int64_t d) const {
    C sum = 0;
    for (int64_t e = 0; e < d; ++e) {
      sum += memory[first + e] * load_element<C>(x.data, x.dtype, row + e);
    }
    return sum;
  }
};

// One lane's share of a row that 32 others add to: dimensions lane, lane + 32, ...
template <class C>
struct Accumulator {
  C part[kParts] = {};

  // Adds the weights of 32 rows from `first` on (a lane each, `count` of them) times these rows.
  __device__ void add(const Place& at, C weight, const Heads& x, int64_t first, int64_t count,
                      int64_t d) {
    const Shared<C> weights = shared_array<C, kRowBlock>();
    weights[threadIdx.x] = weight;
    __syncwarp();
    for (int j = 0; j < kWarp && j < count; ++j) {
      const C w = weights[at.warp * kWarp + j];
      const int64_t row = x.row(at.b, at.h, first + j);
      for (int p = 0; p < kParts; ++p) {
        const int64_t e = at.lane + p * kWarp;
        if (e < d) part[p] += w * load_element<C>(x.data, x.dtype, row + e);
      }
    }
    __syncwarp();  // the next weights are written there
  }
  __device__ void write(const Place& at, const Heads& x, C scale, int64_t d) const {
    for (int p = 0; p < kParts; ++p) {
      const int64_t e = at.lane + p * kWarp;
      if (e < d) {
        store_element<C>(x.data, x.dtype, x.row(at.b, at.h, at.i) + e, part[p] * scale);
      }
    }
  }
};

template <class C>
__device__ C score(const AttentionProblem& a, C product, int64_t b, int64_t h, int64_t i,
                   int64_t j) {
  const C scaled = product * static_cast<C>(a.scale);
  if (a.bias.data == nullptr) return scaled;
  return scaled +
         load_element<C>(a.bias.data, a.bias.dtype, a.bias.row(b, h, i) + j * a.bias.stride[3]);
}

// Softmax over blocks of keys (Milakov and Gimelshein, 2018): what was summed is rescaled when a
// larger score arrives.
template <class C>
__global__ void __launch_bounds__(kRowBlock) attention_rows(AttentionProblem a) {
  const Place at(a.images, a.heads, a.n);
  if (!at.inside) return;
  const OwnRow<C> q(0, at, a.q, a.d);
  __syncwarp();
  const C lowest = -static_cast<C>(INFINITY);
  C top = lowest, sum = 0;
  Accumulator<C> out;
  for (int64_t first = 0; first < a.m; first += kWarp) {
    const int64_t j = first + at.lane;
    C s = lowest;
    if (j < a.m) s = score(a, q.dot(a.k, a.k.row(at.b, at.h, j), a.d), at.b, at.h, at.i, j);
    const C higher = Larger{}(top, reduce_warp(s, Larger{}));
    if (higher == lowest) continue;  // nothing but -inf so far
    const C rescale = exp_of(top - higher), p = exp_of(s - higher);
    sum = sum * rescale + reduce_warp(p, Sum{});
    for (C& part : out.part) part *= rescale;
    out.add(at, p, a.v, first, a.m - first, a.d);
    top = higher;
  }
  out.write(at, a.out, C(1) / sum, a.d);
  if (at.lane == 0) {
    static_cast<C*>(a.lse)[(at.b * a.heads + at.h) * a.n + at.i] = top + log_of(sum);
  }
}

// delta (B, H, N): the sum over d of dout out.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    row_products(AttentionProblem a, Heads dout, C* delta) {
  const Place at(a.images, a.heads, a.n);
  if (!at.inside) return;
  C sum = 0;
  for (int64_t e = at.lane; e < a.d; e += kWarp) {
    sum += load_element<C>(dout.data, dout.dtype, dout.row(at.b, at.h, at.i) + e) *
           load_element<C>(a.out.data, a.out.dtype, a.out.row(at.b, at.h, at.i) + e);
  }
  sum = reduce_warp(sum, Sum{});
  if (at.lane == 0) delta[(at.b * a.heads + at.h) * a.n + at.i] = sum;
}

// The probability of (i, j), and the gradient of its score before the factor `scale`:
// dS = P (dO V^T - delta).
template <class C>
struct ScoreGradient {
  C p, ds;

  __device__ ScoreGradient(const AttentionProblem& a, const C* delta, C qk, C dov, int64_t b,
                           int64_t h, int64_t i, int64_t j) {
    const int64_t row = (b * a.heads + h) * a.n + i;
    p = exp_of(score(a, qk, b, h, i, j) - static_cast<const C*>(a.lse)[row]);
    ds = p * (dov - delta[row]);
  }
};

template <class C>
__global__ void __launch_bounds__(kRowBlock)
    attention_dq(AttentionProblem a, Heads dout, const C* delta, Heads dq) {
  const Place at(a.images, a.heads, a.n);
  if (!at.inside) return;
  const OwnRow<C> q(0, at, a.q, a.d), d_out(1, at, dout, a.d);
  __syncwarp();
  Accumulator<C> sum;
  for (int64_t first = 0; first < a.m; first += kWarp) {
    const int64_t j = first + at.lane;
    C ds = 0;
    if (j < a.m) {
      const C qk = q.dot(a.k, a.k.row(at.b, at.h, j), a.d);
      const C dov = d_out.dot(a.v, a.v.row(at.b, at.h, j), a.d);
      ds = ScoreGradient<C>(a, delta, qk, dov, at.b, at.h, at.i, j).ds;
    }
    sum.add(at, ds, a.k, first, a.m - first, a.d);
  }
  sum.write(at, dq, static_cast<C>(a.scale), a.d);
}

// The warp's row is a key: at.i counts keys here.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    attention_dkdv(AttentionProblem a, Heads dout, const C* delta, Heads dk, Heads dv) {
  const Place at(a.images, a.heads, a.m);
  if (!at.inside) return;
  const OwnRow<C> k(0, at, a.k, a.d), v(1, at, a.v, a.d);
  __syncwarp();
  Accumulator<C> sum_k, sum_v;
  for (int64_t first = 0; first < a.n; first += kWarp) {
    const int64_t i = first + at.lane;
    C p = 0, ds = 0;
    if (i < a.n) {
      const C qk = k.dot(a.q, a.q.row(at.b, at.h, i), a.d);
      const C dov = v.dot(dout, dout.row(at.b, at.h, i), a.d);
      const ScoreGradient<C> gradient(a, delta, qk, dov, at.b, at.h, i, at.i);
      p = gradient.p;
      ds = gradient.ds;
    }
    sum_k.add(at, ds, a.q, first, a.n - first, a.d);
    sum_v.add(at, p, dout, first, a.n - first, a.d);
  }
  sum_k.write(at, dk, static_cast<C>(a.scale), a.d);
  sum_v.write(at, dv, C(1), a.d);
}

// dbias (H, N, M), the images in order: a warp for each (h, i).
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    attention_dbias(AttentionProblem a, Heads dout, const C* delta, void* dbias, DType dtype) {
  Place at(1, a.heads, a.n);
  if (!at.inside) return;
  for (int64_t first = 0; first < a.m; first += kWarp) {
    const int64_t j = first + at.lane;
    C sum = 0;
    for (at.b = 0; at.b < a.images; ++at.b) {
      __syncwarp();  // the row of the image before has been read
      const OwnRow<C> q(0, at, a.q, a.d), d_out(1, at, dout, a.d);
      __syncwarp();
      if (j >= a.m) continue;
      const C qk = q.dot(a.k, a.k.row(at.b, at.h, j), a.d);
      const C dov = d_out.dot(a.v, a.v.row(at.b, at.h, j), a.d);
      sum += ScoreGradient<C>(a, delta, qk, dov, at.b, at.h, at.i, j).ds;
    }
    if (j < a.m) store_element<C>(dbias, dtype, (at.h * a.n + at.i) * a.m + j, sum);
  }
}

void check_dims(const char* op, int64_t d) {
  TESSERA_CHECK(d <= kMostDims, "[{}] heads of {} dimensions, on cuda at most {}", op, d,
                kMostDims);
}

}  // namespace

void attention_by_rows(const AttentionArgs& args) {
  if (args.out.numel() == 0) return;
  const AttentionProblem a(args);
  check_dims("attention", a.d);
  visit_floating(args.q.dtype, [&](auto tag) {
    using C = decltype(tag);
    const size_t shared = static_cast<size_t>(kRowsPerBlock * a.d) * sizeof(C);
    launch(attention_rows<C>, ceil_div(a.images * a.heads * a.n, kRowsPerBlock), kRowBlock, shared,
           stream(), a);
  });
}

void attention_by_rows_backward(const AttentionBackwardArgs& args) {
  const AttentionProblem a(args.forward);
  check_dims("attention_backward", a.d);
  const Heads dout(args.dout);
  visit_floating(args.forward.q.dtype, [&](auto tag) {
    using C = decltype(tag);
    const int64_t rows = a.images * a.heads * a.n, keys = a.images * a.heads * a.m;
    const size_t shared = 2 * static_cast<size_t>(kRowsPerBlock * a.d) * sizeof(C);
    const Scratch scratch(static_cast<size_t>(rows) * sizeof(C));
    C* const delta = scratch.as<C>();
    launch(row_products<C>, ceil_div(rows, kRowsPerBlock), kRowBlock, 0, stream(), a, dout, delta);
    launch(attention_dq<C>, ceil_div(rows, kRowsPerBlock), kRowBlock, shared, stream(), a, dout,
           delta, Heads(args.dq));
    launch(attention_dkdv<C>, ceil_div(keys, kRowsPerBlock), kRowBlock, shared, stream(), a, dout,
           delta, Heads(args.dk), Heads(args.dv));
    if (args.dbias.data == nullptr) return;
    launch(attention_dbias<C>, ceil_div(a.heads * a.n, kRowsPerBlock), kRowBlock, shared, stream(),
           a, dout, delta, args.dbias.data, args.dbias.dtype);
  });
}

void attention(const AttentionArgs& args) {
  takes_tiles(args) ? attention_by_tiles(args) : attention_by_rows(args);
}

void attention_backward(const AttentionBackwardArgs& args) {
  takes_tiles(args.forward) ? attention_by_tiles_backward(args) : attention_by_rows_backward(args);
}

}  // namespace tessera::cuda
