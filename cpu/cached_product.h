// Products of small matrices that lie in one core's cache: what attention is made of, where a
// library's call costs more than the product itself.
// Rule: every element is one chain of fused multiply-adds, k ascending, so the bits depend on the
// values alone: not on strides, not on the cuts, and not on the instructions that were chosen.
#pragma once

#include <cstdint>

namespace tessera::cpu {

// c (m, n) = a (m, k) b (k, n), or c += a b. Element (i, p) of a is a[i * a_row + p * a_col]; rows
// of b and c are contiguous and b_row and c_row apart. n must be a multiple of 64 bytes.
void cached_product(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_col,
                    const float* b, int64_t b_row, bool accumulate, float* c, int64_t c_row);
void cached_product(int64_t m, int64_t n, int64_t k, const double* a, int64_t a_row, int64_t a_col,
                    const double* b, int64_t b_row, bool accumulate, double* c, int64_t c_row);

}  // namespace tessera::cpu
