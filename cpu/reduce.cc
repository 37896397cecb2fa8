// Sums and maxima over the middle of a contiguous (outer, n, inner).
// Rule: the order of additions is fixed by the shape. inner = 1: a row is summed in lanes over
// pieces of kPiece elements, the pieces in a tree. inner > 1: columns are summed side by side, in
// pieces of kPieceRows rows, the pieces in a tree. Pieces bound both the rounding error and the
// tasks.
#include <algorithm>
#include <limits>
#include <vector>

#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

constexpr int64_t kPiece = 4096;       // elements of a row
constexpr int64_t kPieceRows = 64;     // rows of a column sum
constexpr int64_t kColumnBlock = 512;  // columns side by side

struct SumOp {
  template <class V>
  static V step(V acc, V x) {
    return acc + x;
  }
  template <class T>
  static T join(T a, T b) {
    return a + b;
  }
  template <class T>
  static T finish(const Lane<T>& lane) {
    return horizontal_sum(lane);
  }
  template <class T>
  static T identity() {
    return T(0);
  }
};
struct SumSquaresOp : SumOp {
  template <class V>
  static V step(V acc, V x) {
    return acc + x * x;
  }
};
struct MaxOp {  // a NaN wins
  template <class V>
  static V step(V acc, V x) {
    return select(acc != acc, acc, select(x > acc, x, select(x != x, x, acc)));
  }
  template <class T>
  static T join(T a, T b) {
    return a != a ? a : (b > a || b != b ? b : a);
  }
  template <class T>
  static T finish(const Lane<T>& lane) {
    return horizontal_max(lane);
  }
  template <class T>
  static T identity() {
    if constexpr (std::numeric_limits<T>::has_infinity) {
      return -std::numeric_limits<T>::infinity();
    } else {
      return std::numeric_limits<T>::lowest();
    }
  }
};

// n elements from `first` on, a piece of one row.
template <class Op, class C>
C reduce_piece(const View& x, int64_t first, int64_t n) {
  const C start = Op::template identity<C>();
  Lane<C> acc[4];
  for (auto& a : acc) a = Lane<C>::filled(start);
  C buffer[kBlock];
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t count = std::min(kBlock, n - at);
    const C* from = read_at(x, first + at, count, buffer);
    int turn = 0;
    for_each_lane<C>(count, [&](int64_t i, int64_t lane) {
      acc[turn] = Op::step(acc[turn], load_lane(from + i, lane, start));
      turn = (turn + 1) & 3;
    });
  }
  C total = Op::finish(acc[0]);
  for (int k = 1; k < 4; ++k) total = Op::join(total, Op::finish(acc[k]));
  return total;
}

template <class Op, class C>
void reduce_rows(const View& x, const View& y, int64_t rows, int64_t n) {
  const int64_t pieces = std::max<int64_t>(1, ceil_div(n, kPiece));
  std::vector<C> partial(static_cast<size_t>(rows * pieces));
  parallel_ranges(
      rows * pieces, std::max<int64_t>(1, kTaskElements / std::clamp<int64_t>(n, 1, kPiece)),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t row = i / pieces, from = i % pieces * kPiece;
          partial[i] = reduce_piece<Op, C>(x, row * n + from, std::min(kPiece, n - from));
        }
      });
  for (int64_t row = 0; row < rows; ++row) {
    C* piece = &partial[row * pieces];
    join_pairwise(pieces,
                  [&](int64_t to, int64_t from) { piece[to] = Op::join(piece[to], piece[from]); });
    write_at(piece, y, row, 1);
  }
}

// acc[c] over rows [begin, end) of columns [c0, c0 + count).
template <class Op, class C>
void reduce_columns_piece(const View& x, int64_t first_row, int64_t last_row, int64_t inner,
                          int64_t c0, int64_t count, C* acc) {
  std::fill_n(acc, count, Op::template identity<C>());
  C buffer[kColumnBlock];
  for (int64_t r = first_row; r < last_row; ++r) {
    const C* row = read_at(x, r * inner + c0, count, buffer);
    for_each_lane<C>(count, [&](int64_t i, int64_t lane) {
      store_lane(Op::step(load_lane(acc + i, lane), load_lane(row + i, lane)), acc + i, lane);
    });
  }
}

template <class Op, class C>
void reduce_columns(const View& x, const View& y, int64_t outer, int64_t n, int64_t inner) {
  const int64_t pieces = std::max<int64_t>(1, ceil_div(n, kPieceRows));
  const int64_t blocks = ceil_div(inner, kColumnBlock);
  std::vector<C> partial(static_cast<size_t>(outer * pieces * inner));
  parallel_tasks(outer * pieces * blocks, [&](int64_t task) {
    const int64_t c0 = task % blocks * kColumnBlock, op = task / blocks;
    const int64_t o = op / pieces, from = op % pieces * kPieceRows;
    reduce_columns_piece<Op, C>(x, o * n + from, o * n + std::min(n, from + kPieceRows), inner, c0,
                                std::min(kColumnBlock, inner - c0), &partial[op * inner + c0]);
  });
  for (int64_t o = 0; o < outer; ++o) {
    C* total = &partial[o * pieces * inner];
    join_pairwise(pieces, [&](int64_t to, int64_t from) {
      C *into = total + to * inner, *next = total + from * inner;
      for (int64_t i = 0; i < inner; ++i) into[i] = Op::join(into[i], next[i]);
    });
    write_at(total, y, o * inner, inner);
  }
}

template <class Op>
void reduce_with(const View& x, const View& y) {
  const int64_t outer = x.shape[0], n = x.shape[1], inner = x.shape[2];
  if (outer * inner == 0) return;
  visit_compute(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    inner == 1 ? reduce_rows<Op, C>(x, y, outer, n) : reduce_columns<Op, C>(x, y, outer, n, inner);
  });
}

}  // namespace

void reduce(ReduceOp op, const View& x, const View& y) {
  switch (op) {
    case ReduceOp::kSum:
      return reduce_with<SumOp>(x, y);
    case ReduceOp::kMax:
      return reduce_with<MaxOp>(x, y);
    case ReduceOp::kSumSquares:
      return reduce_with<SumSquaresOp>(x, y);
  }
}

}  // namespace tessera::cpu
