// Products of small matrices that lie in one core's cache: what attention is made of, where a
// library's call costs more than the product itself.
// Rule: every element is one chain of fused multiply-adds, k ascending, so the bits depend on the
// values alone: not on strides, not on the cuts, and not on the instructions that were chosen.
#pragma once

#include <cstdint>

#include "cpu/multiply.h"

namespace tessera::cpu {

// Contiguous rows, `stride` elements apart.
template <class T>
struct Rows {
  T* data;
  int64_t stride;

  Matrix<T> matrix() const { return {data, stride, 1}; }
};

// c (m, n) = a (m, k) b (k, n), or c += a b; a of any strides. n must be a multiple of 64 bytes.
void cached_product(int64_t m, int64_t n, int64_t k, Matrix<float> a, Rows<const float> b,
                    bool accumulate, Rows<float> c);
void cached_product(int64_t m, int64_t n, int64_t k, Matrix<double> a, Rows<const double> b,
                    bool accumulate, Rows<double> c);

}  // namespace tessera::cpu
