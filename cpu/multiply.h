// One thread's matrix product: oneDNN for f32 and bf16, Eigen for f64.
// Rule: the bits of a result depend on the values and the shape alone, never on strides, transposes
// or alignment; and nothing here starts a thread. Every larger product is cut into calls of this.
#pragma once

#include <cstdint>

#include "engine/dtype.h"

namespace tessera::cpu {

// Element (i, j) is data[i * row + j * col]. Any strides work; those where one is 1 and the other
// at least the length of a row (or column) are read in place.
template <class T>
struct Matrix {
  const T* data;
  int64_t row, col;

  Matrix transposed() const { return {data, col, row}; }
};

// Whether the bits of an element of an f32 product are the same whatever rows and columns the call
// has beside it: so with AVX-512, not with AVX2's kernels, which cut k by the shape.
bool order_is_fixed();

// The scratch slots of the calling thread that every product here may use.
enum MultiplySlot { kLeftCopy = 6, kRightCopy = 7 };

// c (m, n) = a (m, k) b (k, n), or c += a b. c's rows are `ldc` elements apart. k = 0 is a sum of
// nothing.
void multiply(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, bool accumulate,
              float* c, int64_t ldc);
void multiply(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, bool accumulate,
              double* c, int64_t ldc);

// The same from bf16, summed in f32, by the processor's bf16 instructions: only where there are
// some (has_bf16_products), and in their own order of sums. They pay where they beat widening to
// f32.
void multiply_bf16(int64_t m, int64_t n, int64_t k, Matrix<BFloat16> a, Matrix<BFloat16> b,
                   bool accumulate, float* c, int64_t ldc);
bool has_bf16_products();
bool bf16_products_pay();

}  // namespace tessera::cpu
