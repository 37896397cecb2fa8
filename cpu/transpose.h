// A matrix turned, in squares of eight: registers shuffled where an element-by-element loop would
// write one number at a time.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace tessera::cpu {

// to (8, 8) = from (8, 8) turned; rows `from_row` and `to_row` elements apart. Pairs of rows are
// interleaved three times, by single numbers, by pairs and by halves of a register.
inline void transpose_8x8(const float* from, int64_t from_row, float* to, int64_t to_row) {
  __m256 a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(from + i * from_row);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], _MM_SHUFFLE(1, 0, 1, 0));
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], _MM_SHUFFLE(3, 2, 3, 2));
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], _MM_SHUFFLE(1, 0, 1, 0));
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], _MM_SHUFFLE(3, 2, 3, 2));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

// to (cols, rows) = from (rows, cols) turned. Rows of `from` are `from_row` elements apart, its
// columns `from_col`.
template <class T>
void transpose(const T* from, int64_t from_row, int64_t from_col, int64_t rows, int64_t cols, T* to,
               int64_t to_row) {
  constexpr int64_t kSquare = 8;
  for (int64_t i = 0; i < rows; i += kSquare) {
    for (int64_t j = 0; j < cols; j += kSquare) {
      const T* square = from + i * from_row + j * from_col;
      T* turned = to + j * to_row + i;
      const int64_t height = std::min(kSquare, rows - i), width = std::min(kSquare, cols - j);
      if constexpr (std::is_same_v<T, float>) {
        if (height == kSquare && width == kSquare && from_col == 1) {
          transpose_8x8(square, from_row, turned, to_row);
          continue;
        }
      }
      for (int64_t q = 0; q < width; ++q) {
        for (int64_t p = 0; p < height; ++p) {
          turned[q * to_row + p] = square[p * from_row + q * from_col];
        }
      }
    }
  }
}

}  // namespace tessera::cpu
