// Copies of matrices in one layout, whatever the operand's: row-major, padded with zeros; and rows
// of zeros, which are a product over nothing.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/multiply.h"
#include "cpu/transpose.h"

namespace tessera::cpu {

// Rows or columns lie one element apart, the others at least a whole row or column.
template <class T>
bool readable(Matrix<T> a, int64_t rows, int64_t cols) {
  return a.col == 1 ? a.row >= cols : a.row == 1 && a.col >= rows;
}

template <class T>
void clear(int64_t m, int64_t n, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, T(0));
}

// A row-major copy of a (rows, cols), with zeros up to (padded_rows, padded_cols).
template <class T>
Matrix<T> pack(Matrix<T> a, int64_t rows, int64_t cols, int64_t padded_rows, int64_t padded_cols,
               T* out) {
  if (padded_rows != rows || padded_cols != cols) std::fill_n(out, padded_rows * padded_cols, T{});
  if (a.col == 1) {
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(out + i * padded_cols, a.data + i * a.row, static_cast<size_t>(cols) * sizeof(T));
    }
  } else {
    transpose(a.data, a.col, a.row, cols, rows, out, padded_cols);
  }
  return {out, padded_cols, 1};
}

}  // namespace tessera::cpu
