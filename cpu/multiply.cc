// The two libraries behind one call.
// Rule: whatever makes a library choose another order of sums (transposes, leading dimensions, a
// vector instead of a matrix) is taken away here before the library sees it.
#include "cpu/multiply.h"

#include <dnnl.h>
#include <omp.h>

#include <Eigen/Core>
#include <algorithm>
#include <cstring>

#include "cpu/pool.h"
#include "engine/error.h"

namespace tessera::cpu {
namespace {

// oneDNN's AVX-512 kernels add the products of one element in order of k, as long as they do not
// cut k, which they do above 384, and as long as both sides have 16 rows: below they take
// matrix-vector kernels that sum k in lanes when the transposes suit.
constexpr int64_t kDepth = 384;
constexpr int64_t kLeastSide = 16;

// The AVX2 kernels' order depends on the transposes at every size: there everything is packed.
bool order_is_fixed() {
  static const bool fixed =
      (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
  return fixed;
}

template <class T>
bool readable(Matrix<T> a, int64_t rows, int64_t cols) {
  return a.col == 1 ? a.row >= cols : a.row == 1 && a.col >= rows;
}

// Into row-major order without gaps.
template <class T>
Matrix<T> pack(Matrix<T> a, int64_t rows, int64_t cols, T* out) {
  if (a.col == 1) {
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(out + i * cols, a.data + i * a.row, static_cast<size_t>(cols) * sizeof(T));
    }
  } else {
    constexpr int64_t kTile = 16;  // both sides of a transpose stay in L1
    for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
      const int64_t i1 = std::min(rows, i0 + kTile);
      for (int64_t j0 = 0; j0 < cols; j0 += kTile) {
        const int64_t j1 = std::min(cols, j0 + kTile);
        for (int64_t i = i0; i < i1; ++i) {
          for (int64_t j = j0; j < j1; ++j) out[i * cols + j] = a.data[i * a.row + j * a.col];
        }
      }
    }
  }
  return {out, cols, 1};
}

template <class T>
void clear(int64_t m, int64_t n, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, T(0));
}

}  // namespace

void multiply(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, bool accumulate,
              float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate) clear(m, n, c, ldc);
    return;
  }
  thread_local const bool alone = (omp_set_num_threads(1), true);
  static_cast<void>(alone);
  const bool in_place = order_is_fixed() && m >= kLeastSide && n >= kLeastSide;
  if (!in_place || !readable(a, m, k)) a = pack(a, m, k, thread_scratch<float>(6, m * k));
  if (!in_place || !readable(b, k, n)) b = pack(b, k, n, thread_scratch<float>(7, k * n));
  const char a_transposed = a.col == 1 ? 'N' : 'T', b_transposed = b.col == 1 ? 'N' : 'T';
  const int64_t lda = a.col == 1 ? a.row : a.col, ldb = b.col == 1 ? b.row : b.col;
  // Even pieces: 400 is 200 and 200, since a rest of 16 would cost a pass over c for nothing.
  const int64_t pieces = (k + kDepth - 1) / kDepth;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = piece * k / pieces, end = (piece + 1) * k / pieces;
    const dnnl_status_t status = dnnl_sgemm(
        a_transposed, b_transposed, m, n, end - begin, 1.0f, a.data + begin * a.col, lda,
        b.data + begin * b.row, ldb, accumulate || piece > 0 ? 1.0f : 0.0f, c, std::max(ldc, n));
    TESSERA_CHECK(status == dnnl_success, "[gemm] oneDNN failed with status {} on {} x {} x {}",
                  static_cast<int>(status), m, n, k);
  }
}

// f64 is there to check gradients, not for speed: always packed. Below m + n + k = 20 Eigen takes a
// kernel whose order depends on where c is aligned: those few sums are done here.
void multiply(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, bool accumulate,
              double* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (!accumulate) clear(m, n, c, ldc);
  if (k == 0) return;
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const double* left = pack(a, m, k, thread_scratch<double>(6, m * k)).data;
  const double* right = pack(b, k, n, thread_scratch<double>(7, k * n)).data;
  if (m + n + k < 20) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t p = 0; p < k; ++p) c[i * ldc + j] += left[i * k + p] * right[p * n + j];
      }
    }
    return;
  }
  Eigen::Map<RowMajor, 0, Eigen::OuterStride<>>(c, m, n, Eigen::OuterStride<>(ldc)).noalias() +=
      Eigen::Map<const RowMajor>(left, m, k) * Eigen::Map<const RowMajor>(right, k, n);
}

}  // namespace tessera::cpu
