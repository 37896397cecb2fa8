// Sums and maxima over the middle of a contiguous (outer, n, inner).
// Rule: the order of additions is fixed by the shape. inner = 1: a group of threads takes a piece
// of kPiece elements of a row. inner > 1: a thread takes kPieceRows elements of each of a run of
// columns. The pieces' results are reduced in the same way, until one is left.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int64_t kPiece = 16384;   // elements of a row
constexpr int64_t kPieceRows = 64;  // elements of a column
constexpr int kAtOnce = 8;          // rows that are read before the first is added

struct SumOp {
  template <class C>
  static __device__ C step(C acc, C x) {
    return acc + x;
  }
  template <class C>
  __device__ C operator()(C a, C b) const {
    return a + b;
  }
  template <class C>
  static __device__ C identity() {
    return C(0);
  }
};
struct SumSquaresOp : SumOp {
  template <class C>
  static __device__ C step(C acc, C x) {
    return acc + x * x;
  }
};
struct MaxOp {  // a NaN wins
  template <class C>
  static __device__ C step(C a, C b) {
    return a != a ? a : (b > a || b != b ? b : a);
  }
  template <class C>
  __device__ C operator()(C a, C b) const {
    return step(a, b);
  }
  template <class C>
  static __device__ C identity() {
    if constexpr (std::is_same_v<C, int64_t>) {
      return INT64_MIN;
    } else {
      return -static_cast<C>(INFINITY);
    }
  }
};

// y (rows, pieces)
template <class Op, class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    reduce_rows(Rows x, void* y, DType y_dtype, int64_t count, int64_t pieces) {
  const Group<kWidth> group;
  if (group.row >= count) return;
  const int64_t row = group.row / pieces, first = group.row % pieces * kPiece;
  const int64_t n = x.n - first < kPiece ? x.n - first : kPiece;
  const C start = Op::template identity<C>();
  C acc = start;
  group.for_each_run(n, [&](int64_t i) {
    for (const C e : read_run<C>(x, row, first + i, start).at) acc = Op::step(acc, e);
  });
  acc = reduce_group<kWidth>(acc, Op{});
  if (group.thread == 0) store_element<C>(y, y_dtype, group.row, acc);
}

// x (outer n, inner) to y (outer pieces, inner), `runs` a row.
template <class Op, class C>
__global__ void __launch_bounds__(kRowBlock)
    reduce_columns(Rows x, int64_t n, Rows y, int64_t count, int64_t pieces, int64_t runs) {
  const int64_t index = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (index >= count) return;
  const int64_t column = index % runs * kRun, row = index / runs;
  const int64_t outer = row / pieces, begin = row % pieces * kPieceRows;
  const int64_t end = begin + kPieceRows < n ? begin + kPieceRows : n;
  const C start = Op::template identity<C>();
  Run<C> acc;
  for (C& e : acc.at) e = start;
  for (int64_t first = begin; first < end; first += kAtOnce) {
    Run<C> v[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i < end) v[i] = read_run<C>(x, outer * n + first + i, column, start);
    }
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i >= end) continue;
      for (int k = 0; k < kRun; ++k) acc.at[k] = Op::step(acc.at[k], v[i].at[k]);
    }
  }
  write_run(y, row, column, acc);
}

// One round: x (outer, n, inner) to y (outer, pieces, inner).
template <class Op, class C>
void reduce_pieces(const View& x, int64_t pieces, void* y, DType y_dtype) {
  const int64_t outer = x.shape[0], n = x.shape[1], inner = x.shape[2];
  if (inner > 1) {
    const int64_t runs = ceil_div(inner, kRun), count = outer * pieces * runs;
    return launch(reduce_columns<Op, C>, ceil_div(count, kRowBlock), kRowBlock, 0, stream(),
                  Rows(x, inner), n, Rows(View{y, y_dtype}, inner), count, pieces, runs);
  }
  const int64_t count = outer * pieces;
  launch(takes_block(n) ? reduce_rows<Op, C, kRowBlock> : reduce_rows<Op, C, kWarp>,
         row_blocks(count, n), kRowBlock, 0, stream(), Rows(x, n), y, y_dtype, count, pieces);
}

// Next: what joins the pieces' results.
template <class Op, class Next, class C>
void reduce_as(const View& x, const View& y) {
  const int64_t outer = x.shape[0], n = x.shape[1], inner = x.shape[2];
  const int64_t pieces = n == 0 ? 1 : ceil_div(n, inner > 1 ? kPieceRows : kPiece);
  if (pieces == 1) return reduce_pieces<Op, C>(x, 1, y.data, y.dtype);
  const Scratch partial(static_cast<size_t>(outer * pieces * inner) * sizeof(C));
  reduce_pieces<Op, C>(x, pieces, partial.as<void>(), DTypeOf<C>::value);
  const View rest{
      partial.as<void>(), DTypeOf<C>::value, 3, {outer, pieces, inner}, {pieces * inner, inner, 1}};
  reduce_as<Next, Next, C>(rest, y);
}

}  // namespace

void reduce(ReduceOp op, const View& x, const View& y) {
  if (x.shape[0] * x.shape[2] == 0) return;
  visit_compute(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    switch (op) {
      case ReduceOp::kSum:
        return reduce_as<SumOp, SumOp, C>(x, y);
      case ReduceOp::kMax:
        return reduce_as<MaxOp, MaxOp, C>(x, y);
      case ReduceOp::kSumSquares:
        return reduce_as<SumSquaresOp, SumOp, C>(x, y);
    }
  });
}

}  // namespace tessera::cuda
