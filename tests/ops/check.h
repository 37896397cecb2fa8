// The modes every case of the op table goes through. Each returns what is wrong, one line a fault.
// Rule: a mode knows no op; what an op needs is said in its row. Bounds: compare.h.
#pragma once

#include <string>
#include <vector>

#include "tests/ops/layout.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {

using Faults = std::vector<std::string>;

// Results against the reference, in f64 (1e-12), f32 (2e-5), f16 and bf16 (the roundings to the
// storage type), on every layout; inputs and their margins stay as they were.
Faults check_values(const Case& c, Device device);

// Analytic gradients in f64, one output element at a time, against central differences of the
// reference (step 1e-6, bound 1e-6), on every layout; then f32, f16 and bf16 against f64.
Faults check_gradients(const Case& c, Device device);

// f32 inputs under autocast to f16 and bf16: the bounds of the low dtype hold, the result is f32 or
// low, and gradients come back in f32.
Faults check_autocast(const Case& c, Device device);

// Results and gradients have the same bits on every layout and with 1, 2 and 3 threads (f32; f64
// and bf16 with 2), which are the CPU's affair: elsewhere each layout runs once. Products on a
// device where they depend on strides: every layout twice, the same bits.
Faults check_bits(const Case& c, Device device);
// The same for large cases: f32 contiguous, transposed and offset, 1 and 2 threads.
Faults check_large_bits(const Case& c, Device device);

// f32 results and gradients against f64, for cases without a reference.
Faults check_against_f64(const Case& c, Device device);

// Every buffer that a kernel writes stays inside its bounds and is written in full: on the device
// that the guards were installed before.
Faults check_guards(const Case& c);

// Every refusal throws an Error that names the op in brackets and holds its needles.
Faults check_refusals(const Row& row);

}  // namespace tessera::ops_test
