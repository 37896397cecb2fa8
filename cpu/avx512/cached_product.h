// Code for AVX-512 alone: call it where the processor has avx512f.
// Rule: plain C declarations; this folder's own headers and <immintrin.h>, <stdint.h> are all that
// its sources may include, so that no inline function compiled for AVX-512 can end up in the rest
// of the program.
#pragma once

#include <stdint.h>

// The contract of cached_product (cpu/cached_product.h): element (i, p) of a is
// a[i * a_row + p * a_col]; rows of b and c are contiguous and b_row and c_row apart.
extern "C" void tessera_avx512_product_f32(int64_t m, int64_t n, int64_t k, const float* a,
                                           int64_t a_row, int64_t a_col, const float* b,
                                           int64_t b_row, bool accumulate, float* c, int64_t c_row);
