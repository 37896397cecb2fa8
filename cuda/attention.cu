// Attention for every dtype, length and card: a warp for each row, nothing of size (N, M) kept.
// What attention_mma.cu takes goes there; this is the road for the rest and its twin in tests.
// Rule: a block has rows of one head and reads 32 keys (or queries) at a time into shared memory,
// in ascending order; of them a warp takes a lane each, then a lane for each dimension of the head
// adds up what they give. No atomics: a warp owns what it writes. Backward makes P again from lse.
#include "cuda/attention.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kRowsPerBlock = kRowBlock / kWarp;
constexpr int kMostDims = 256;             // of a head
constexpr int kParts = kMostDims / kWarp;  // dimensions of one lane

// Of a head of so many rows.
constexpr int64_t blocks_of(int64_t rows) { return (rows + kRowsPerBlock - 1) / kRowsPerBlock; }

// Which row of a head a warp has. Behind the head's last row are warps that only help to load.
struct Place {
  int64_t b, h, i;
  int lane, warp;
  bool inside;

  __device__ Place(int64_t heads, int64_t rows)
      : lane(static_cast<int>(threadIdx.x % kWarp)), warp(static_cast<int>(threadIdx.x / kWarp)) {
    const int64_t blocks = blocks_of(rows), head = blockIdx.x / blocks;
    b = head / heads;
    h = head % heads;
    i = blockIdx.x % blocks * kRowsPerBlock + warp;
    inside = i < rows;
  }
};

// The warp's own row of a head in shared memory, for every lane to read. Rows lie before the tiles.
template <class C>
struct OwnRow {
  Shared<C> memory;
  int64_t first;

  __device__ OwnRow(int slot, const Place& at, const Heads& x, int64_t d)
      : memory(dynamic_shared<C>()), first((slot * kRowsPerBlock + at.warp) * d) {
    if (!at.inside) return;
    for (int64_t e = at.lane; e < d; e += kWarp) {
      memory[first + e] = load_element<C>(x.data, x.dtype, x.row(at.b, at.h, at.i) + e);
    }
  }
};

// 32 rows of the block's head in shared memory, one element apart, so that lanes that read one row
// each meet in no bank.
template <class C>
struct Tile {
  Shared<C> memory;
  int64_t first, stride;

  // Behind `rows` own rows of every warp and `slot` tiles.
  __device__ Tile(int rows, int slot, int64_t d)
      : memory(dynamic_shared<C>()),
        first(rows * kRowsPerBlock * d + slot * kWarp * (d + 1)),
        stride(d + 1) {}

  // Rows from `from` on of the `rows` that x has; by all warps, between two barriers.
  __device__ void load(const Place& at, const Heads& x, int64_t from, int64_t rows, int64_t d) {
    for (int64_t r = at.warp; r < kWarp && from + r < rows; r += kRowsPerBlock) {
      const int64_t row = x.row(at.b, at.h, from + r);
      for (int64_t e = at.lane; e < d; e += kWarp) {
        memory[first + r * stride + e] = load_element<C>(x.data, x.dtype, row + e);
      }
    }
  }
  __device__ C operator()(int64_t row, int64_t e) const { return memory[first + row * stride + e]; }
};

// The dimensions in order.
template <class C>
__device__ C dot(const OwnRow<C>& own, const Tile<C>& tile, int row, int64_t d) {
  C sum = 0;
  for (int64_t e = 0; e < d; ++e) sum += own.memory[own.first + e] * tile(row, e);
  return sum;
}

// Bytes of a block's own rows and tiles. With the static weights of its Accumulator 163 KB for f64
// and 256 dimensions going back, which an A100 has and smaller cards do not.
template <class C>
size_t shared_bytes(int rows, int64_t d) {
  const size_t bytes =
      static_cast<size_t>(rows * kRowsPerBlock * d + 2 * kWarp * (d + 1)) * sizeof(C);
  const size_t with_weights = bytes + kRowBlock * sizeof(C);
  TESSERA_CHECK(
      with_weights <= most_shared_bytes(),
      "[attention] heads of {} dimensions want {} bytes of shared memory, this card has {}", d,
      with_weights, most_shared_bytes());
  return bytes;
}

// One lane's share of a row that 32 others add to: dimensions lane, lane + 32, ...
template <class C>
struct Accumulator {
  C part[kParts] = {};

  // Adds the weights of a tile's rows (a lane each, `count` of them) times these rows.
  __device__ void add(const Place& at, C weight, const Tile<C>& tile, int64_t count, int64_t d) {
    const Shared<C> weights = shared_array<C, kRowBlock>();
    weights[threadIdx.x] = weight;
    __syncwarp();
    for (int j = 0; j < kWarp && j < count; ++j) {
      const C w = weights[at.warp * kWarp + j];
      for (int p = 0; p < kParts; ++p) {
        const int64_t e = at.lane + p * kWarp;
        if (e < d) part[p] += w * tile(j, e);
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
  const Place at(a.heads, a.n);
  const OwnRow<C> q(0, at, a.q, a.d);
  Tile<C> k(1, 0, a.d), v(1, 1, a.d);
  const C lowest = -static_cast<C>(INFINITY);
  C top = lowest, sum = 0;
  Accumulator<C> out;
  for (int64_t first = 0; first < a.m; first += kWarp) {
    __syncthreads();  // the tiles before have been read
    k.load(at, a.k, first, a.m, a.d);
    v.load(at, a.v, first, a.m, a.d);
    __syncthreads();
    if (!at.inside) continue;
    const int64_t j = first + at.lane;
    C s = lowest;
    if (j < a.m) s = score(a, dot(q, k, at.lane, a.d), at.b, at.h, at.i, j);
    const C higher = Larger{}(top, reduce_warp(s, Larger{}));
    if (higher == lowest) continue;  // nothing but -inf so far
    const C rescale = exp_of(top - higher), p = exp_of(s - higher);
    sum = sum * rescale + reduce_warp(p, Sum{});
    for (C& part : out.part) part *= rescale;
    out.add(at, p, v, a.m - first, a.d);
    top = higher;
  }
  if (!at.inside) return;
  out.write(at, a.out, C(1) / sum, a.d);
  if (at.lane == 0) {
    static_cast<C*>(a.lse)[(at.b * a.heads + at.h) * a.n + at.i] = top + log_of(sum);
  }
}

// delta (B, H, N): the sum over d of dout out.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    row_products(AttentionProblem a, Heads dout, C* delta) {
  const Place at(a.heads, a.n);
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
  const Place at(a.heads, a.n);
  const OwnRow<C> q(0, at, a.q, a.d), d_out(1, at, dout, a.d);
  Tile<C> k(2, 0, a.d), v(2, 1, a.d);
  Accumulator<C> sum;
  for (int64_t first = 0; first < a.m; first += kWarp) {
    __syncthreads();
    k.load(at, a.k, first, a.m, a.d);
    v.load(at, a.v, first, a.m, a.d);
    __syncthreads();
    if (!at.inside) continue;
    const int64_t j = first + at.lane;
    C ds = 0;
    if (j < a.m) {
      const C qk = dot(q, k, at.lane, a.d), dov = dot(d_out, v, at.lane, a.d);
      ds = ScoreGradient<C>(a, delta, qk, dov, at.b, at.h, at.i, j).ds;
    }
    sum.add(at, ds, k, a.m - first, a.d);
  }
  if (!at.inside) return;
  sum.write(at, dq, static_cast<C>(a.scale), a.d);
}

// The warp's row is a key: at.i counts keys here.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    attention_dkdv(AttentionProblem a, Heads dout, const C* delta, Heads dk, Heads dv) {
  const Place at(a.heads, a.m);
  const OwnRow<C> k(0, at, a.k, a.d), v(1, at, a.v, a.d);
  Tile<C> q(2, 0, a.d), d_out(2, 1, a.d);
  Accumulator<C> sum_k, sum_v;
  for (int64_t first = 0; first < a.n; first += kWarp) {
    __syncthreads();
    q.load(at, a.q, first, a.n, a.d);
    d_out.load(at, dout, first, a.n, a.d);
    __syncthreads();
    if (!at.inside) continue;
    const int64_t i = first + at.lane;
    C p = 0, ds = 0;
    if (i < a.n) {
      const C qk = dot(k, q, at.lane, a.d), dov = dot(v, d_out, at.lane, a.d);
      const ScoreGradient<C> gradient(a, delta, qk, dov, at.b, at.h, i, at.i);
      p = gradient.p;
      ds = gradient.ds;
    }
    sum_k.add(at, ds, q, a.n - first, a.d);
    sum_v.add(at, p, d_out, a.n - first, a.d);
  }
  if (!at.inside) return;
  sum_k.write(at, dk, static_cast<C>(a.scale), a.d);
  sum_v.write(at, dv, C(1), a.d);
}

// dbias (H, N, M), the images in order: a warp for each (h, i).
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    attention_dbias(AttentionProblem a, Heads dout, const C* delta, void* dbias, DType dtype) {
  Place at(a.heads, a.n);
  Tile<C> k(2, 0, a.d), v(2, 1, a.d);
  for (int64_t first = 0; first < a.m; first += kWarp) {
    const int64_t j = first + at.lane;
    const bool mine = at.inside && j < a.m;
    C sum = 0;
    for (at.b = 0; at.b < a.images; ++at.b) {
      __syncthreads();  // the rows of the image before have been read
      const OwnRow<C> q(0, at, a.q, a.d), d_out(1, at, dout, a.d);
      k.load(at, a.k, first, a.m, a.d);
      v.load(at, a.v, first, a.m, a.d);
      __syncthreads();
      if (!mine) continue;
      const C qk = dot(q, k, at.lane, a.d), dov = dot(d_out, v, at.lane, a.d);
      sum += ScoreGradient<C>(a, delta, qk, dov, at.b, at.h, at.i, j).ds;
    }
    if (mine) store_element<C>(dbias, dtype, (at.h * a.n + at.i) * a.m + j, sum);
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
    launch(attention_rows<C>, a.images * a.heads * blocks_of(a.n), kRowBlock,
           shared_bytes<C>(1, a.d), stream(), a);
  });
}

void attention_by_rows_backward(const AttentionBackwardArgs& args) {
  const AttentionProblem a(args.forward);
  check_dims("attention_backward", a.d);
  const Heads dout(args.dout);
  visit_floating(args.forward.q.dtype, [&](auto tag) {
    using C = decltype(tag);
    const int64_t rows = a.images * a.heads * blocks_of(a.n);
    const size_t shared = shared_bytes<C>(2, a.d);
    const Scratch scratch(static_cast<size_t>(a.images * a.heads * a.n) * sizeof(C));
    C* const delta = scratch.as<C>();
    launch(row_products<C>, rows, kRowBlock, 0, stream(), a, dout, delta);
    launch(attention_dq<C>, rows, kRowBlock, shared, stream(), a, dout, delta, Heads(args.dq));
    launch(attention_dkdv<C>, a.images * a.heads * blocks_of(a.m), kRowBlock, shared, stream(), a,
           dout, delta, Heads(args.dk), Heads(args.dv));
    if (args.dbias.data == nullptr) return;
    launch(attention_dbias<C>, a.heads * blocks_of(a.n), kRowBlock, shared, stream(), a, dout,
           delta, args.dbias.data, args.dbias.dtype);
  });
}

void attention(const AttentionArgs& args) {
  takes_tiles(args) ? attention_by_tiles(args) : attention_by_rows(args);
}

void attention_backward(const AttentionBackwardArgs& args) {
  takes_tiles(args.forward) ? attention_by_tiles_backward(args) : attention_by_rows_backward(args);
}

}  // namespace tessera::cuda
