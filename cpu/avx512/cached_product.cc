// Cached products on AVX-512.
#include "cpu/avx512/cached_product.h"

#include <immintrin.h>

#include "cpu/cached_product_tiles.h"

namespace tessera::cpu {
namespace {

// Rows of a tile by its vectors: up to 24 of 32 registers sum.
struct FloatVector {
  using Element = float;
  static constexpr int kElements = 16;
  static constexpr int kTileRows[] = {12, 8, 8, 6};
  __m512 v;
  static FloatVector load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static FloatVector filled(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  friend FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
  }
};

}  // namespace
}  // namespace tessera::cpu

void tessera_avx512_product_f32(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row,
                                int64_t a_col, const float* b, int64_t b_row, bool accumulate,
                                float* c, int64_t c_row) {
  using namespace tessera::cpu;
  multiply_all<FloatVector>(m, n, {k, a, a_row, a_col, b, b_row, accumulate, c, c_row});
}
