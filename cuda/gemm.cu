// A product by our own hands, for every dtype and any strides: what the vendor's library is held
// against, and what takes its place where it has no answer.
// Rule: a block makes a tile of c, its sums run over K in order; nothing is split along K. Tensor
// cores are the vendor's.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kSide = 64;     // of a tile of c
constexpr int kDepth = 16;    // of K at a time
constexpr int kOwn = 4;       // a thread has kOwn x kOwn elements, kThreads apart
constexpr int kThreads = 16;  // a side of the block: 16 x 16 threads
constexpr int kPitch = kSide + 1;

// A matrix of a batch, elements by two strides.
struct Matrix {
  void* data;
  DType dtype;
  int64_t batch, row, column;  // strides

  explicit Matrix(const View& v)
      : data(v.data), dtype(v.dtype), batch(v.stride[0]), row(v.stride[1]), column(v.stride[2]) {}
  __device__ int64_t at(int64_t b, int64_t i, int64_t j) const {
    return b * batch + i * row + j * column;
  }
};

struct Product {
  Matrix a, b, c;
  void* bias;  // nullptr: none
  DType bias_dtype;
  int64_t bias_stride;
  int64_t m, n, k;
};

// tile[k][i]: kDepth x kSide elements of x (rows x depth) from (row0, depth0) on, 0 outside.
template <class C>
__device__ void load_tile(const Shared<C>& tile, const Matrix& x, int64_t batch, int64_t row0,
                          int64_t rows, int64_t depth0, int64_t depth) {
  // Neighbouring threads read neighbouring addresses, whichever way the matrix lies.
  const bool along_rows = x.row == 1;
  for (int e = static_cast<int>(threadIdx.x); e < kSide * kDepth; e += kThreads * kThreads) {
    const int i = along_rows ? e % kSide : e / kDepth, p = along_rows ? e / kSide : e % kDepth;
    const bool inside = row0 + i < rows && depth0 + p < depth;
    tile[p * kPitch + i] =
        inside ? load_element<C>(x.data, x.dtype, x.at(batch, row0 + i, depth0 + p)) : C(0);
  }
}

template <class C>
__global__ void __launch_bounds__(kThreads* kThreads) multiply_tiles(Product p, C alpha, C beta) {
  const Shared<C> left = shared_array<C, kDepth * kPitch, 0>();
  const Shared<C> right = shared_array<C, kDepth * kPitch, 1>();
  const int ty = static_cast<int>(threadIdx.x) / kThreads;
  const int tx = static_cast<int>(threadIdx.x) % kThreads;
  // A grid's second dimension would end at 65535 tiles.
  const int64_t row_tiles = (p.m + kSide - 1) / kSide;
  const int64_t batch = blockIdx.y, row0 = blockIdx.x % row_tiles * kSide;
  const int64_t column0 = blockIdx.x / row_tiles * kSide;
  // b's columns are the rows of its transpose.
  Matrix turned = p.b;
  turned.row = p.b.column;
  turned.column = p.b.row;
  C sum[kOwn][kOwn] = {};
  for (int64_t depth0 = 0; depth0 < p.k; depth0 += kDepth) {
    load_tile(left, p.a, batch, row0, p.m, depth0, p.k);
    load_tile(right, turned, batch, column0, p.n, depth0, p.k);
    __syncthreads();
    for (int d = 0; d < kDepth; ++d) {
      C x[kOwn], y[kOwn];
      for (int i = 0; i < kOwn; ++i) x[i] = left[d * kPitch + ty + i * kThreads];
      for (int j = 0; j < kOwn; ++j) y[j] = right[d * kPitch + tx + j * kThreads];
      for (int i = 0; i < kOwn; ++i) {
        for (int j = 0; j < kOwn; ++j) sum[i][j] = fma_of(x[i], y[j], sum[i][j]);
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < kOwn; ++i) {
    for (int j = 0; j < kOwn; ++j) {
      const int64_t row = row0 + ty + i * kThreads, column = column0 + tx + j * kThreads;
      if (row >= p.m || column >= p.n) continue;
      const int64_t at = p.c.at(batch, row, column);
      C value = alpha * sum[i][j];
      if (beta != C(0)) value += beta * load_element<C>(p.c.data, p.c.dtype, at);
      if (p.bias != nullptr) value += load_element<C>(p.bias, p.bias_dtype, column * p.bias_stride);
      store_element<C>(p.c.data, p.c.dtype, at, value);
    }
  }
}

}  // namespace

void gemm(const GemmArgs& args) {
  Product p{Matrix(args.a),      Matrix(args.b),  Matrix(args.c),  args.bias.data, args.bias.dtype,
            args.bias.stride[0], args.c.shape[1], args.c.shape[2], args.a.shape[2]};
  constexpr int64_t kMostBatches = 65535;  // of a grid's second dimension
  visit_floating(args.a.dtype, [&](auto tag) {
    using C = decltype(tag);
    for (int64_t first = 0; first < args.c.shape[0]; first += kMostBatches) {
      Product part = p;
      for (Matrix* x : {&part.a, &part.b, &part.c}) {
        x->data = static_cast<char*>(x->data) +
                  first * x->batch * static_cast<int64_t>(size_of(x->dtype));
      }
      const int64_t batches = std::min(kMostBatches, args.c.shape[0] - first);
      launch(multiply_tiles<C>, Blocks{ceil_div(p.m, kSide) * ceil_div(p.n, kSide), batches},
             kThreads * kThreads, 0, stream(), part, static_cast<C>(args.alpha),
             static_cast<C>(args.beta));
    }
  });
}

}  // namespace tessera::cuda
