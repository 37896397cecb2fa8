// Products of any floating dtype, strides and batch: a grid of tiles, one `multiply` each.
// Rule: the grid depends on the shape alone, a tile is computed by one thread from start to end,
// and so no result depends on the number of threads.
#include <dnnl.h>
#include <omp.h>

#include <Eigen/Core>
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/lanes.h"
#include "cpu/multiply.h"
#include "cpu/pool.h"

namespace tessera::cpu {
namespace {

// n cut into pieces whose borders are multiples of 16 (the width of oneDNN's kernels).
struct Cut {
  int64_t n, pieces;
  Cut(int64_t n, int64_t wanted) : n(n), pieces(std::clamp<int64_t>(wanted, 1, (n + 47) / 48)) {}
  int64_t border(int64_t i) const {
    const int64_t units = (n + 15) / 16;
    return std::min(n, i * units / pieces * 16);
  }
};

struct Grid {
  Cut rows, cols;
};

Grid choose_grid(int64_t batch, int64_t m, int64_t n) {
  constexpr int64_t kRows = 256, kCols = 768;
  int64_t row_pieces = (m + kRows - 1) / kRows, col_pieces = (n + kCols - 1) / kCols;
  while (batch * row_pieces * col_pieces < 4 && m * n > 64 * 64) {
    ++(m / row_pieces >= n / col_pieces ? row_pieces : col_pieces);
  }
  return {Cut(m, row_pieces), Cut(n, col_pieces)};
}

// A (rows, cols) piece of an operand as C, read in place where it is that already.
template <class C>
Matrix<C> widened(const void* data, DType dtype, int64_t row, int64_t col, int64_t rows,
                  int64_t cols, int slot) {
  if (dtype == DTypeOf<C>::value) return {static_cast<const C*>(data), row, col};
  const bool by_column = row == 1 && col != 1;
  const int64_t lines = by_column ? cols : rows, length = by_column ? rows : cols;
  C* out = thread_scratch<C>(slot, rows * cols);
  for (int64_t i = 0; i < lines; ++i) {
    const char* line = static_cast<const char*>(data) +
                       i * (by_column ? col : row) * static_cast<int64_t>(size_of(dtype));
    gather_elements(line, dtype, by_column ? row : col, length, out + i * length);
  }
  return by_column ? Matrix<C>{out, 1, rows} : Matrix<C>{out, cols, 1};
}

void* at(const View& v, int64_t b, int64_t i, int64_t j) {
  return static_cast<char*>(v.data) + (b * v.stride[0] + i * v.stride[1] + j * v.stride[2]) *
                                          static_cast<int64_t>(size_of(v.dtype));
}

// What is done to a finished tile while it is still in the cache: c = alpha p + beta c + bias.
template <class C>
void combine_row(const C* product, C alpha, C beta, const C* bias, int64_t n, C* c) {
  if (beta == C(0)) {
    for (int64_t j = 0; j < n; ++j) c[j] = alpha * product[j];
  } else {
    for (int64_t j = 0; j < n; ++j) c[j] = alpha * product[j] + beta * c[j];
  }
  if (bias == nullptr) return;
  for (int64_t j = 0; j < n; ++j) c[j] += bias[j];
}

template <class C>
void compute_tile(const GemmArgs& args, int64_t b, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  const int64_t m = i1 - i0, n = j1 - j0, k = args.a.shape[2];
  const View& c = args.c;
  const Matrix<C> left =
      widened<C>(at(args.a, b, i0, 0), args.a.dtype, args.a.stride[1], args.a.stride[2], m, k, 0);
  const Matrix<C> right =
      widened<C>(at(args.b, b, 0, j0), args.b.dtype, args.b.stride[1], args.b.stride[2], k, n, 1);
  const C alpha = static_cast<C>(args.alpha), beta = static_cast<C>(args.beta);
  // In place: the product lands in c itself, on top of what is there when beta is 1.
  const bool in_place =
      c.dtype == DTypeOf<C>::value && alpha == C(1) && (beta == C(0) || beta == C(1));
  C* product = in_place ? static_cast<C*>(at(c, b, i0, j0)) : thread_scratch<C>(2, m * n);
  const int64_t stride = in_place ? c.stride[1] : n;
  multiply(m, n, k, left, right, in_place && beta == C(1), product, stride);
  if (in_place && args.bias.data == nullptr) return;

  C* buffer = thread_scratch<C>(3, 2 * n);
  const C* bias = nullptr;
  if (args.bias.data != nullptr) {
    const char* from = static_cast<const char*>(args.bias.data) +
                       j0 * args.bias.stride[0] * static_cast<int64_t>(size_of(args.bias.dtype));
    gather_elements(from, args.bias.dtype, args.bias.stride[0], n, buffer + n);
    bias = buffer + n;
  }
  for (int64_t i = 0; i < m; ++i) {
    C* row = product + i * stride;
    if (in_place) {
      for (int64_t j = 0; j < n; ++j) row[j] += bias[j];
      continue;
    }
    void* out = at(c, b, i0 + i, j0);
    if (beta != C(0)) gather_elements(out, c.dtype, 1, n, buffer);
    combine_row(row, alpha, beta, bias, n, buffer);
    scatter_elements(buffer, n, out, c.dtype, 1);
  }
}

// One call of the library for each product of the batch: what the tile grid is measured against.
void onednn_gemm(const GemmArgs& args) {
  TESSERA_CHECK(args.c.dtype == DType::kF32 && args.bias.data == nullptr,
                "[gemm] the plain oneDNN product is f32 without a bias");
  omp_set_num_threads(num_threads());
  const auto transposed = [](const View& v) { return v.stride[2] != 1; };
  const auto leading = [&](const View& v) { return v.stride[transposed(v) ? 2 : 1]; };
  for (int64_t b = 0; b < args.c.shape[0]; ++b) {
    dnnl_sgemm(transposed(args.a) ? 'T' : 'N', transposed(args.b) ? 'T' : 'N', args.c.shape[1],
               args.c.shape[2], args.a.shape[2], static_cast<float>(args.alpha),
               static_cast<const float*>(at(args.a, b, 0, 0)), leading(args.a),
               static_cast<const float*>(at(args.b, b, 0, 0)), leading(args.b),
               static_cast<float>(args.beta), static_cast<float*>(at(args.c, b, 0, 0)),
               args.c.stride[1]);
  }
  omp_set_num_threads(1);
}

// Eigen's f32 product on one thread.
void eigen_gemm(const GemmArgs& args) {
  TESSERA_CHECK(args.c.dtype == DType::kF32 && args.bias.data == nullptr,
                "[gemm] the plain Eigen product is f32 without a bias");
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Columns = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic>;
  using Stride = Eigen::OuterStride<>;
  const auto visit = [](const View& v, int64_t b, auto&& use) {
    const float* p = static_cast<const float*>(at(v, b, 0, 0));
    if (v.stride[2] == 1) {
      use(Eigen::Map<const Rows, 0, Stride>(p, v.shape[1], v.shape[2], Stride(v.stride[1])));
    } else {
      use(Eigen::Map<const Columns, 0, Stride>(p, v.shape[1], v.shape[2], Stride(v.stride[2])));
    }
  };
  const float alpha = static_cast<float>(args.alpha), beta = static_cast<float>(args.beta);
  for (int64_t b = 0; b < args.c.shape[0]; ++b) {
    Eigen::Map<Rows, 0, Stride> c(static_cast<float*>(at(args.c, b, 0, 0)), args.c.shape[1],
                                  args.c.shape[2], Stride(args.c.stride[1]));
    if (beta == 0) {
      c.setZero();
    } else {
      c *= beta;
    }
    visit(args.a, b, [&](const auto& left) {
      visit(args.b, b, [&](const auto& right) { c.noalias() += alpha * (left * right); });
    });
  }
}

}  // namespace

void gemm(const GemmArgs& args) {
  const int64_t batch = args.c.shape[0], m = args.c.shape[1], n = args.c.shape[2];
  if (batch * m * n == 0) return;
  const Grid grid = choose_grid(batch, m, n);
  const int64_t tiles = grid.rows.pieces * grid.cols.pieces;
  // Small products share a task: about 20 us of work.
  constexpr double kTaskFlops = 2e6;
  const double flops = 2.0 * m * n * static_cast<double>(args.a.shape[2]) / tiles;
  const int64_t grain = std::clamp<int64_t>(static_cast<int64_t>(kTaskFlops / (flops + 1)), 1, 64);
  visit_floating(args.c.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_ranges(batch * tiles, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t b = t / tiles, i = t % tiles / grid.cols.pieces;
        const int64_t j = t % grid.cols.pieces;
        compute_tile<C>(args, b, grid.rows.border(i), grid.rows.border(i + 1), grid.cols.border(j),
                        grid.cols.border(j + 1));
      }
    });
  });
}

std::vector<GemmImplementation> gemm_implementations() {
  return {{"tessera", gemm}, {"onednn", onednn_gemm}, {"eigen", eigen_gemm}};
}

}  // namespace tessera::cpu
