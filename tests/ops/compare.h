// The bounds of the op table, and how arrays are compared.
// Rule: a bound is a property of the number format, never of an op.
#pragma once

#include <functional>
#include <string>

#include "engine/dtype.h"
#include "tests/ops/array.h"

namespace tessera::ops_test {

// The largest finite |element|, at least 1: what errors are measured by.
double largest(const Array& a);

// How far a result of `roundings` roundings may be from `want`, whose array reaches to `scale`:
// f64 1e-12, f32 2e-5 of the scale; f16 and bf16 half a last place of the element itself for one
// rounding, of the scale for each of several, and the error of f32 arithmetic inside.
double bound(DType dtype, int roundings, double want, double scale);

// The first element that is further from `want` than bound_of(want); empty when none is. NaN equals
// NaN, infinity itself.
std::string first_difference(const Array& have, const Array& want,
                             const std::function<double(double)>& bound_of);

bool same_bits(const Array& a, const Array& b);

}  // namespace tessera::ops_test
