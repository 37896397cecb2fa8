// The two libraries behind one call.
// Rule: whatever makes a library choose another order of sums (transposes, leading dimensions, a
// vector instead of a matrix) is taken away here before the library sees it.
#include "cpu/multiply.h"

#include <dnnl.h>
#include <omp.h>

#include <Eigen/Core>
#include <algorithm>

#include "cpu/pack.h"
#include "cpu/pool.h"
#include "engine/error.h"

namespace tessera::cpu {
namespace {

// oneDNN's AVX-512 kernels add the products of one element in order of k, as long as both sides
// have 16 rows: below they take matrix-vector kernels that sum k in lanes when the transposes suit.
// Above 384 they cut k; up to 768 all of them do it in two equal halves, beyond that each in its
// own way.
constexpr int64_t kDepth = 768;
constexpr int64_t kLeastSide = 16;

// Both operands as oneDNN reads them.
void call_sgemm(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, bool accumulate,
                float* c, int64_t ldc) {
  keep_onednn_on_this_thread();
  const bool a_rows = a.col == 1, b_rows = b.col == 1;
  // Even pieces: 784 is 392 and 392, since a rest of 16 would cost a pass over c for nothing.
  const int64_t pieces = ceil_div(k, kDepth);
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = piece * k / pieces, end = (piece + 1) * k / pieces;
    const dnnl_status_t status =
        dnnl_sgemm(a_rows ? 'N' : 'T', b_rows ? 'N' : 'T', m, n, end - begin, 1.0f,
                   a.data + begin * a.col, a_rows ? a.row : a.col, b.data + begin * b.row,
                   b_rows ? b.row : b.col, accumulate || piece > 0 ? 1.0f : 0.0f, c, ldc);
    TESSERA_CHECK(status == dnnl_success, "[gemm] oneDNN failed with status {} on {} x {} x {}",
                  static_cast<int>(status), m, n, k);
  }
}

}  // namespace

// The AVX2 kernels' order depends on the transposes, too: there everything is packed.
bool order_is_fixed() {
  static const bool fixed =
      (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
  return fixed;
}

void multiply(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, bool accumulate,
              float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate) clear(m, n, c, ldc);
    return;
  }
  const int64_t rows = std::max(m, kLeastSide), cols = std::max(n, kLeastSide);
  const bool in_place = order_is_fixed();
  const bool padded = rows != m || cols != n;
  const bool copied = !in_place || rows != m || !readable(a, m, k);
  // A copy of a, and behind it a padded product.
  float* spare = nullptr;
  if (copied || padded) {
    spare = thread_scratch<float>(kLeftCopy, rows * k + (padded ? rows * cols : 0));
  }
  if (copied) a = pack(a, m, k, rows, k, spare);
  if (!in_place || cols != n || !readable(b, k, n)) {
    b = pack(b, k, n, k, cols, thread_scratch<float>(kRightCopy, k * cols));
  }
  if (!padded) {
    call_sgemm(m, n, k, a, b, accumulate, c, std::max(ldc, n));
    return;
  }
  float* product = spare + rows * k;
  if (accumulate) pack<float>({c, ldc, 1}, m, n, rows, cols, product);
  call_sgemm(rows, cols, k, a, b, accumulate, product, cols);
  for (int64_t i = 0; i < m; ++i) std::copy_n(product + i * cols, n, c + i * ldc);
}

// f64 is there to check gradients, not for speed: always packed. Below m + n + k = 20 Eigen takes a
// kernel whose order depends on where c is aligned: those few sums are done here.
void multiply(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, bool accumulate,
              double* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (!accumulate) clear(m, n, c, ldc);
  if (k == 0) return;
  const double* left = pack(a, m, k, m, k, thread_scratch<double>(kLeftCopy, m * k)).data;
  const double* right = pack(b, k, n, k, n, thread_scratch<double>(kRightCopy, k * n)).data;
  if (m + n + k < 20) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t p = 0; p < k; ++p) c[i * ldc + j] += left[i * k + p] * right[p * n + j];
      }
    }
    return;
  }
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Eigen::Map<RowMajor, 0, Eigen::OuterStride<>>(c, m, n, Eigen::OuterStride<>(ldc)).noalias() +=
      Eigen::Map<const RowMajor>(left, m, k) * Eigen::Map<const RowMajor>(right, k, n);
}

}  // namespace tessera::cpu
