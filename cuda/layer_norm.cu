// Layer norm of the rows of a contiguous (rows, n): y = (x - mean) rstd w + b, and its backward.
// Rule: the variance is the mean square of x - mean, in a second pass; dw and db are summed over
// fixed chunks of rows, then over the chunks, in orders that the shape fixes.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int64_t kChunkRows = 64;  // rows of one partial sum of dw and db

template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    layer_norm_rows(Rows x, Vector w, Vector b, C eps, Rows y, Vector mean, Vector rstd,
                    int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const int64_t n = x.n;
  C sum = 0, squares = 0;
  group.for_each_four(n, [&](int64_t i) {
    for (const C e : read_four<C>(x, group.row, i).at) sum += e;
  });
  const C center = group.sum(sum) / static_cast<C>(n);
  group.for_each_four(n, [&](int64_t i) {
    for (const C e : read_four<C>(x, group.row, i, center).at) {
      squares += (e - center) * (e - center);
    }
  });
  const C inverse = C(1) / sqrt_of(group.sum(squares) / static_cast<C>(n) + eps);
  group.for_each_four(n, [&](int64_t i) {
    Four<C> v = read_four<C>(x, group.row, i);
    const Four<C> scale = read_four(w, i, n, C(1)), shift = read_four(b, i, n, C(0));
    for (int k = 0; k < 4; ++k) {
      v.at[k] = (v.at[k] - center) * inverse * scale.at[k] + shift.at[k];
    }
    write_four(y, group.row, i, v);
  });
  if (group.thread == 0) {
    write_element(mean, group.row, center);
    write_element(rstd, group.row, inverse);
  }
}

// dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy w
template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    layer_norm_backward_rows(Rows x, Vector w, Vector mean, Vector rstd, Rows dy, Rows dx,
                             int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const int64_t n = x.n;
  const C center = read_element<C>(mean, group.row), inverse = read_element<C>(rstd, group.row);
  C sum_g = 0, sum_gx = 0;
  group.for_each_four(n, [&](int64_t i) {
    const Four<C> v = read_four<C>(x, group.row, i), d = read_four<C>(dy, group.row, i);
    const Four<C> scale = read_four(w, i, n, C(1));
    for (int k = 0; k < 4; ++k) {
      const C g = d.at[k] * scale.at[k];
      sum_g += g;
      sum_gx += g * ((v.at[k] - center) * inverse);
    }
  });
  const C mean_g = group.sum(sum_g) / static_cast<C>(n);
  const C mean_gx = group.sum(sum_gx) / static_cast<C>(n);
  group.for_each_four(n, [&](int64_t i) {
    const Four<C> v = read_four<C>(x, group.row, i), scale = read_four(w, i, n, C(1));
    Four<C> d = read_four<C>(dy, group.row, i);
    for (int k = 0; k < 4; ++k) {
      const C xhat = (v.at[k] - center) * inverse;
      d.at[k] = inverse * (d.at[k] * scale.at[k] - mean_g - xhat * mean_gx);
    }
    write_four(dx, group.row, i, d);
  });
}

// partial (2, chunks, n): sums of dy xhat and of dy over kChunkRows rows; one thread a column.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    layer_norm_backward_columns(Rows x, Vector mean, Vector rstd, Rows dy, C* partial, int64_t rows,
                                int64_t chunks) {
  const int64_t column = int64_t{blockIdx.y} * kRowBlock + threadIdx.x, chunk = blockIdx.x;
  if (column >= x.n) return;
  const int64_t first = chunk * kChunkRows;
  const int64_t last = first + kChunkRows < rows ? first + kChunkRows : rows;
  C dw = 0, db = 0;
  for (int64_t row = first; row < last; ++row) {
    const C d = load_element<C>(dy.data, dy.dtype, row * x.n + column);
    const C v = load_element<C>(x.data, x.dtype, row * x.n + column);
    dw += d * ((v - read_element<C>(mean, row)) * read_element<C>(rstd, row));
    db += d;
  }
  partial[chunk * x.n + column] = dw;
  partial[(chunks + chunk) * x.n + column] = db;
}

template <class C>
void sum_chunks(C* partial, int64_t chunks, int64_t n, const View& out) {
  if (out.data == nullptr) return;
  const View x{partial, DTypeOf<C>::value, 3, {1, chunks, n}, {chunks * n, n, 1}};
  const View y{out.data, out.dtype, 2, {1, n}, {n, 1}};
  reduce(ReduceOp::kSum, x, y);
}

}  // namespace

void layer_norm(const View& x, const View& w, const View& b, double eps, const View& y,
                const View& mean, const View& rstd) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  if (rows * n == 0) return;
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch(takes_block(n) ? layer_norm_rows<C, kRowBlock> : layer_norm_rows<C, kWarp>,
           row_blocks(rows, n), kRowBlock, 0, stream(), Rows(x, n), Vector(w), Vector(b),
           static_cast<C>(eps), Rows(y, n), Vector(mean), Vector(rstd), rows);
  });
}

void layer_norm_backward(const View& x, const View& w, const View& mean, const View& rstd,
                         const View& dy, const View& dx, const View& dw, const View& db) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  if (n == 0) return;
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    const bool sums = dw.data != nullptr || db.data != nullptr;
    const int64_t chunks = ceil_div(rows, kChunkRows);
    if (sums && rows == 0) {
      for (const View& out : {dw, db}) {
        if (out.data != nullptr) fill(out, 0);
      }
    } else if (sums) {
      const Scratch partial(static_cast<size_t>(2 * chunks * n) * sizeof(C));
      C* const at = partial.as<C>();
      launch(layer_norm_backward_columns<C>, Blocks{chunks, ceil_div(n, kRowBlock)}, kRowBlock, 0,
             stream(), Rows(x, n), Vector(mean), Vector(rstd), Rows(dy, n), at, rows, chunks);
      sum_chunks(at, chunks, n, dw);
      sum_chunks(at + chunks * n, chunks, n, db);
    }
    launch(takes_block(n) ? layer_norm_backward_rows<C, kRowBlock>
                          : layer_norm_backward_rows<C, kWarp>,
           row_blocks(rows, n), kRowBlock, 0, stream(), Rows(x, n), Vector(w), Vector(mean),
           Vector(rstd), Rows(dy, n), Rows(dx, n), rows);
  });
}

}  // namespace tessera::cuda
