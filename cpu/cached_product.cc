// Cached products on AVX2, and the choice of AVX-512 where the processor has it.
#include "cpu/cached_product.h"

#include <immintrin.h>

#include "cpu/avx512/cached_product.h"
#include "cpu/cached_product_tiles.h"

namespace tessera::cpu {
namespace {

// Rows of a tile by its vectors: 12 of 16 registers sum, two hold b's row, one a's element.
struct FloatVector {
  using Element = float;
  static constexpr int kElements = 8;
  static constexpr int kTileRows[] = {6, 6};
  __m256 v;
  static FloatVector load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static FloatVector filled(float x) { return {_mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  friend FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
  }
};

struct DoubleVector {
  using Element = double;
  static constexpr int kElements = 4;
  static constexpr int kTileRows[] = {6, 6};
  __m256d v;
  static DoubleVector load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static DoubleVector filled(double x) { return {_mm256_set1_pd(x)}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  friend DoubleVector multiply_add(DoubleVector a, DoubleVector b, DoubleVector c) {
    return {_mm256_fmadd_pd(a.v, b.v, c.v)};
  }
};

bool has_avx512() {
  static const bool value = __builtin_cpu_supports("avx512f");
  return value;
}

}  // namespace

void cached_product(int64_t m, int64_t n, int64_t k, Matrix<float> a, Rows<const float> b,
                    bool accumulate, Rows<float> c) {
  if (has_avx512()) {
    tessera_avx512_product_f32(m, n, k, a.data, a.row, a.col, b.data, b.stride, accumulate, c.data,
                               c.stride);
  } else {
    multiply_all<FloatVector>(
        m, n, {k, a.data, a.row, a.col, b.data, b.stride, accumulate, c.data, c.stride});
  }
}

void cached_product(int64_t m, int64_t n, int64_t k, Matrix<double> a, Rows<const double> b,
                    bool accumulate, Rows<double> c) {
  multiply_all<DoubleVector>(
      m, n, {k, a.data, a.row, a.col, b.data, b.stride, accumulate, c.data, c.stride});
}

}  // namespace tessera::cpu
