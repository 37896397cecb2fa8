// Layer norm of the rows of a contiguous (rows, n): y = (x - mean) rstd w + b, and its backward;
// with a residual branch those of x + r, which is then added, and its gradient joined, on the way.
// Rule: the variance is the mean square of x - mean, in a second pass; dw and db are summed over
// fixed chunks of rows, then over the chunks, in orders that the shape fixes.
// With a branch, bytes an element where sums are f32, the rest bf16: forward 12 (x 4, r 2, sum 4,
// y 2), where r's cast, the addition and the norm move 24; backward 16 (x 4, dy 2, dsum 4, dx 4,
// dr 2), where the norm, read twice for dw and db, the addition and the cast move 34.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int64_t kChunkRows = 32;  // rows of one partial sum of dw and db, and of one block
constexpr int kAtOnce = 4;          // rows whose sums meet behind one barrier
constexpr int kChunkBlock = 128;    // its threads: 1024 columns

// What comes back when `value` is stored as dtype.
template <class C>
__device__ C as_stored(DType dtype, C value) {
  if constexpr (std::is_same_v<C, float>) {
    if (dtype == DType::kBF16) return convert_to<float>(convert_to<BFloat16>(value));
    if (dtype == DType::kF16) return convert_to<float>(convert_to<Half>(value));
  }
  return value;
}

// The rows that are normalised: x, or x + r as sum stores it. Each pass adds anew, so that it reads
// what nobody writes.
struct Summed {
  Rows x, r, sum;

  template <class C>
  __device__ Run<C> read(int64_t row, int64_t i, C fill = C(0)) const {
    Run<C> v = read_run<C>(x, row, i, fill);
    if (r.data == nullptr) return v;
    const Run<C> branch = read_run<C>(r, row, i);
    for (int k = 0; k < kRun; ++k) {
      v.at[k] = i + k < x.n ? as_stored(sum.dtype, v.at[k] + branch.at[k]) : fill;
    }
    return v;
  }
};

template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    layer_norm_rows(Summed x, Vector w, Vector b, C eps, Rows y, Vector mean, Vector rstd,
                    int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const int64_t n = y.n;
  C sum = 0, squares = 0;
  group.for_each_run(n, [&](int64_t i) {
    const Run<C> v = x.read<C>(group.row, i);
    if (x.r.data != nullptr) write_run(x.sum, group.row, i, v);
    for (const C e : v.at) sum += e;
  });
  const C center = group.sum(sum) / static_cast<C>(n);
  group.for_each_run(n, [&](int64_t i) {
    for (const C e : x.read<C>(group.row, i, center).at) squares += (e - center) * (e - center);
  });
  const C inverse = C(1) / sqrt_of(group.sum(squares) / static_cast<C>(n) + eps);
  group.for_each_run(n, [&](int64_t i) {
    Run<C> v = x.read<C>(group.row, i);
    const Run<C> scale = read_run(w, i, n, C(1)), shift = read_run(b, i, n, C(0));
    for (int k = 0; k < kRun; ++k) {
      v.at[k] = (v.at[k] - center) * inverse * scale.at[k] + shift.at[k];
    }
    write_run(y, group.row, i, v);
  });
  if (group.thread == 0) {
    write_element(mean, group.row, center);
    write_element(rstd, group.row, inverse);
  }
}

// dx = dsum + rstd (g - mean(g) - xhat mean(g xhat)) with g = dy w
struct Backward {
  Rows x, dy, dsum, dx, dr;
  Vector w, mean, rstd;

  explicit Backward(const LayerNormBackwardArgs& args, int64_t n)
      : x(args.x, n),
        dy(args.dy, n),
        dsum(args.dsum, n),
        dx(args.dx, n),
        dr(args.dr, n),
        w(args.w),
        mean(args.mean),
        rstd(args.rstd) {}

  // Elements i .. i + kRun - 1 of dx, from xhat and dy there and the row's two means.
  template <class C>
  __device__ void write(int64_t row, int64_t i, const Run<C>& xhat, const Run<C>& d, C inverse,
                        C mean_g, C mean_gx) const {
    const Run<C> scale = read_run(w, i, x.n, C(1));
    Run<C> out;
    for (int k = 0; k < kRun; ++k) {
      out.at[k] = inverse * (d.at[k] * scale.at[k] - mean_g - xhat.at[k] * mean_gx);
    }
    if (dsum.data != nullptr) {
      const Run<C> more = read_run<C>(dsum, row, i);
      for (int k = 0; k < kRun; ++k) out.at[k] = more.at[k] + out.at[k];
    }
    write_run(dx, row, i, out);
    if (dr.data != nullptr) write_run(dr, row, i, out);
  }
  // (x - mean) rstd; 0 behind the row's end.
  template <class C>
  __device__ Run<C> normalised(int64_t row, int64_t i, C center, C inverse) const {
    Run<C> v = read_run<C>(x, row, i, center);
    for (int k = 0; k < kRun; ++k) v.at[k] = (v.at[k] - center) * inverse;
    return v;
  }
};

// g and g xhat of kAtOnce rows.
template <class C>
struct RowSums {
  C g[kAtOnce], gx[kAtOnce];
};
struct AddRowSums {
  template <class C>
  __device__ RowSums<C> operator()(RowSums<C> a, const RowSums<C>& b) const {
    for (int k = 0; k < kAtOnce; ++k) {
      a.g[k] += b.g[k];
      a.gx[k] += b.gx[k];
    }
    return a;
  }
};
template <class C>
__device__ RowSums<C> shuffle_xor(RowSums<C> x, int distance) {
  for (int k = 0; k < kAtOnce; ++k) {
    x.g[k] = tessera::cuda::shuffle_xor(x.g[k], distance);
    x.gx[k] = tessera::cuda::shuffle_xor(x.gx[k], distance);
  }
  return x;
}

// dx alone: a row by a warp or a block.
template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock) layer_norm_backward_rows(Backward p, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const int64_t n = p.x.n;
  const C center = read_element<C>(p.mean, group.row), inverse = read_element<C>(p.rstd, group.row);
  C sum_g = 0, sum_gx = 0;
  group.for_each_run(n, [&](int64_t i) {
    const Run<C> xhat = p.normalised(group.row, i, center, inverse);
    const Run<C> d = read_run<C>(p.dy, group.row, i), scale = read_run(p.w, i, n, C(1));
    for (int k = 0; k < kRun; ++k) {
      const C g = d.at[k] * scale.at[k];
      sum_g += g;
      sum_gx += g * xhat.at[k];
    }
  });
  const C mean_g = group.sum(sum_g) / static_cast<C>(n);
  const C mean_gx = group.sum(sum_gx) / static_cast<C>(n);
  group.for_each_run(n, [&](int64_t i) {
    p.write(group.row, i, p.normalised(group.row, i, center, inverse),
            read_run<C>(p.dy, group.row, i), inverse, mean_g, mean_gx);
  });
}

// dx, and the chunk's sums over its rows of dy xhat and of dy, into line `chunk` of dw and db
// (chunks, n). A block takes the rows of a chunk in turn, a run of columns a thread; what it reads
// in its second pass over kAtOnce rows is still in the nearest cache.
template <class C>
__global__ void __launch_bounds__(kChunkBlock)
    layer_norm_backward_chunk(Backward p, Rows dw, Rows db, int64_t rows) {
  const Group<kChunkBlock, kChunkBlock> group;
  const int64_t n = p.x.n, chunk = group.row, begin = chunk * kChunkRows;
  const int64_t end = begin + kChunkRows < rows ? begin + kChunkRows : rows;
  for (int64_t first = begin; first < end; first += kAtOnce) {
    C center[kAtOnce], inverse[kAtOnce];
    for (int k = 0; k < kAtOnce; ++k) {
      const int64_t row = first + k < end ? first + k : first;
      center[k] = read_element<C>(p.mean, row);
      inverse[k] = read_element<C>(p.rstd, row);
    }
    RowSums<C> sums = {};
    group.for_each_run(n, [&](int64_t i) {
      const Run<C> scale = read_run(p.w, i, n, C(1));
      TESSERA_UNROLL
      for (int k = 0; k < kAtOnce; ++k) {
        if (first + k >= end) continue;
        const Run<C> xhat = p.normalised(first + k, i, center[k], inverse[k]);
        const Run<C> d = read_run<C>(p.dy, first + k, i);
        for (int j = 0; j < kRun; ++j) {
          const C g = d.at[j] * scale.at[j];
          sums.g[k] += g;
          sums.gx[k] += g * xhat.at[j];
        }
      }
    });
    sums = reduce_group<kChunkBlock>(sums, AddRowSums{});
    group.for_each_run(n, [&](int64_t i) {
      Run<C> sum_dw = {}, sum_db = {};
      if (first != begin) {  // this thread wrote them after the rows before
        sum_dw = read_run<C>(dw, chunk, i);
        sum_db = read_run<C>(db, chunk, i);
      }
      TESSERA_UNROLL
      for (int k = 0; k < kAtOnce; ++k) {
        if (first + k >= end) continue;
        const Run<C> xhat = p.normalised(first + k, i, center[k], inverse[k]);
        const Run<C> d = read_run<C>(p.dy, first + k, i);
        p.write(first + k, i, xhat, d, inverse[k], sums.g[k] / static_cast<C>(n),
                sums.gx[k] / static_cast<C>(n));
        for (int j = 0; j < kRun; ++j) {
          sum_dw.at[j] += d.at[j] * xhat.at[j];
          sum_db.at[j] += d.at[j];
        }
      }
      write_run(dw, chunk, i, sum_dw);
      write_run(db, chunk, i, sum_db);
    });
  }
}

// (chunks, n), one line a chunk, into out.
template <class C>
void sum_chunks(C* partial, int64_t chunks, int64_t n, const View& out) {
  if (out.data == nullptr) return;
  const View x{partial, DTypeOf<C>::value, 3, {1, chunks, n}, {chunks * n, n, 1}};
  const View y{out.data, out.dtype, 2, {1, n}, {n, 1}};
  reduce(ReduceOp::kSum, x, y);
}

}  // namespace

void layer_norm(const LayerNormArgs& args) {
  const int64_t rows = args.x.shape[0], n = args.x.shape[1];
  if (rows * n == 0) return;
  const Summed x{Rows(args.x, n), Rows(args.r, n), Rows(args.sum, n)};
  visit_floating(args.x.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, layer_norm_rows<C, kRowBlock>, layer_norm_rows<C, kWarp>, x,
                Vector(args.w), Vector(args.b), static_cast<C>(args.eps), Rows(args.y, n),
                Vector(args.mean), Vector(args.rstd));
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args) {
  const int64_t rows = args.x.shape[0], n = args.x.shape[1];
  if (n == 0) return;
  const Backward operands(args, n);
  visit_floating(args.x.dtype, [&](auto tag) {
    using C = decltype(tag);
    if (args.dw.data == nullptr && args.db.data == nullptr) {
      return launch_rows({rows, n}, layer_norm_backward_rows<C, kRowBlock>,
                         layer_norm_backward_rows<C, kWarp>, operands);
    }
    if (rows == 0) {
      for (const View& out : {args.dw, args.db}) {
        if (out.data != nullptr) fill(out, 0);
      }
      return;
    }
    const int64_t chunks = ceil_div(rows, kChunkRows);
    const Scratch partial(static_cast<size_t>(2 * chunks * n) * sizeof(C));
    C *const dw = partial.as<C>(), *const db = dw + chunks * n;
    const View dw_view{dw, DTypeOf<C>::value}, db_view{db, DTypeOf<C>::value};
    launch(layer_norm_backward_chunk<C>, chunks, kChunkBlock, 0, stream(), operands,
           Rows(dw_view, n), Rows(db_view, n), rows);
    sum_chunks(dw, chunks, n, args.dw);
    sum_chunks(db, chunks, n, args.db);
  });
}

}  // namespace tessera::cuda
