// Test inputs: arrays of given values laid out in memory in every way a user can produce, each
// inside a larger block whose other bytes hold a pattern. Rule: nothing an op does may change one
// byte of that block, margins and gaps included.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {

enum class Layout { kContiguous, kTransposed, kSliced, kExpanded, kOffset, kFlipped };
inline constexpr Layout kLayouts[] = {Layout::kContiguous, Layout::kTransposed, Layout::kSliced,
                                      Layout::kExpanded,   Layout::kOffset,     Layout::kFlipped};
const char* name_of(Layout layout);

// The case's inputs, the same at every call: a function of shape, fill and position alone. For
// kExpanded the elements along the first dimension longer than 1 are made equal.
Arrays make_inputs(const Case& c, Layout layout);

// Random upstream gradients of a shape.
Array make_upstream(const Shape& shape, uint64_t seed);

// What storing x as dtype keeps of it.
Array rounded(const Array& x, DType dtype);

// A tensor in its guarded block.
class Placed {
 public:
  Placed(const Array& values, DType dtype, Layout layout, Device device);

  const Tensor& tensor() const { return tensor_; }
  bool untouched() const;  // every byte of the block is as it was written

 private:
  Tensor block_;  // u8
  std::vector<uint8_t> image_;
  Tensor tensor_;
};

// The values of t as numbers, whatever its dtype, layout and device.
Array read(const Tensor& t);

}  // namespace tessera::ops_test
