// One thread's matrix product: oneDNN for f32, Eigen for f64.
// Rule: the bits of a result depend on the values and the shape alone, never on strides, transposes
// or alignment; and nothing here starts a thread. Every larger product is cut into calls of this.
#pragma once

#include <cstdint>

namespace tessera::cpu {

// Element (i, j) is data[i * row + j * col]. Any strides work; those where one is 1 and the other
// at least the length of a row (or column) are read in place.
template <class T>
struct Matrix {
  const T* data;
  int64_t row, col;

  Matrix transposed() const { return {data, col, row}; }
};

// c (m, n) = a (m, k) b (k, n), or c += a b. c's rows are `ldc` elements apart. k = 0 is a sum of
// nothing. Uses the calling thread's scratch slots 6 and 7.
void multiply(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, bool accumulate,
              float* c, int64_t ldc);
void multiply(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, bool accumulate,
              double* c, int64_t ldc);

}  // namespace tessera::cpu
