// The loops of a cached product for one set of instructions: tiles of c in registers.
// Rule: included once by each cached_product.cc, here and in avx512/, which then says what a
// vector is; all names are that file's own (no symbol that the linker could take for another
// processor), no other header.
#pragma once

#include <cstdint>

namespace tessera::cpu {
namespace {

// One product's operands, so that a tile is called with few arguments.
template <class T>
struct Operands {
  int64_t k;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row;
  bool accumulate;
  T* c;
  int64_t c_row;
};

// kRows x kVectors vectors of c.
template <class Vector, int kRows, int kVectors>
inline void multiply_tile(const Operands<typename Vector::Element>& o) {
  using T = typename Vector::Element;
  Vector sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      sum[i][j] = o.accumulate ? Vector::load(o.c + i * o.c_row + j * Vector::kElements)
                               : Vector::filled(T(0));
    }
  }
  const T* a = o.a;
  const T* b = o.b;
  for (int64_t p = 0; p < o.k; ++p) {
    Vector row[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) row[j] = Vector::load(b + j * Vector::kElements);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vector x = Vector::filled(a[i * o.a_row]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] = multiply_add(x, row[j], sum[i][j]);
    }
    a += o.a_col;
    b += o.b_row;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      sum[i][j].store(o.c + i * o.c_row + j * Vector::kElements);
    }
  }
}

// Fewer rows than a whole tile: the tile of that many.
template <class Vector, int kRows, int kVectors>
inline void multiply_last_rows(int64_t rows, const Operands<typename Vector::Element>& o) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return multiply_tile<Vector, kRows, kVectors>(o);
    multiply_last_rows<Vector, kRows - 1, kVectors>(rows, o);
  }
}

// All m rows of a panel of kVectors vectors of columns.
template <class Vector, int kVectors>
inline void multiply_panel(int64_t m, Operands<typename Vector::Element> o) {
  constexpr int kRows = Vector::kTileRows[kVectors - 1];
  for (; m >= kRows; m -= kRows) {
    multiply_tile<Vector, kRows, kVectors>(o);
    o.a += kRows * o.a_row;
    o.c += kRows * o.c_row;
  }
  multiply_last_rows<Vector, kRows - 1, kVectors>(m, o);
}

template <class Vector, int kVectors>
inline void multiply_panel_of(int64_t vectors, int64_t m,
                              const Operands<typename Vector::Element>& o) {
  if constexpr (kVectors > 0) {
    if (vectors == kVectors) return multiply_panel<Vector, kVectors>(m, o);
    multiply_panel_of<Vector, kVectors - 1>(vectors, m, o);
  }
}

// The columns in panels of nearly equal width, at most kMostVectors each: 13 vectors are 4 3 3 3.
template <class Vector>
inline void multiply_all(int64_t m, int64_t n, Operands<typename Vector::Element> o) {
  constexpr int kMostVectors = sizeof(Vector::kTileRows) / sizeof(int);
  int64_t vectors = n / Vector::kElements;
  for (int64_t panels = (vectors + kMostVectors - 1) / kMostVectors; panels > 0; --panels) {
    const int64_t width = (vectors + panels - 1) / panels;
    multiply_panel_of<Vector, kMostVectors>(width, m, o);
    vectors -= width;
    o.b += width * Vector::kElements;
    o.c += width * Vector::kElements;
  }
}

}  // namespace
}  // namespace tessera::cpu
