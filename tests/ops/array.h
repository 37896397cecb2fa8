// Array: a dense f64 array and the loops that the op table's references are written in.
// Rule: naive on purpose. Nothing of the engine but the Shape container is used, so that a
// reference cannot share a mistake with what it checks.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/shape.h"

namespace tessera::ops_test {

struct Array {
  Shape shape;
  std::vector<double> values;  // row-major; indices and booleans are numbers too

  Array() = default;
  explicit Array(const Shape& shape, double fill = 0);

  int ndim() const { return shape.size(); }
  int64_t size() const { return static_cast<int64_t>(values.size()); }
  // dim may be negative.
  int64_t extent(int dim) const { return shape[dim < 0 ? dim + ndim() : dim]; }

  double& operator()(const Dims& index) { return values[static_cast<size_t>(position(index))]; }
  double operator()(const Dims& index) const {
    return values[static_cast<size_t>(position(index))];
  }
  int64_t position(const Dims& index) const;
};

// Calls visit(index) for each index of `shape`, row-major.
template <class Visitor>
void each_index(const Shape& shape, Visitor visit) {
  for (int64_t d : shape) {
    if (d == 0) return;
  }
  Dims index = Dims::filled(shape.size(), 0);
  for (;;) {
    visit(std::as_const(index));
    int d = shape.size() - 1;
    while (d >= 0 && ++index[d] == shape[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

// The array whose element at `index` is value(index).
template <class Value>
Array build(const Shape& shape, Value value) {
  Array out(shape);
  size_t k = 0;
  each_index(shape, [&](const Dims& index) { out.values[k++] = value(index); });
  return out;
}

// value(x) of each element.
template <class Value>
Array map(const Array& x, Value value) {
  Array out = x;
  for (double& v : out.values) v = value(v);
  return out;
}

// The element of x that broadcasting puts at `index` of a larger shape.
double broadcast_at(const Array& x, const Dims& index);
Shape broadcast_shape(const Shape& a, const Shape& b);

// value(a, b) under NumPy's broadcasting.
template <class Value>
Array map(const Array& a, const Array& b, Value value) {
  return build(broadcast_shape(a.shape, b.shape), [&](const Dims& index) {
    return value(broadcast_at(a, index), broadcast_at(b, index));
  });
}

// The index without, or with other, entries.
Dims without(const Dims& index, int dim);
Dims with(const Dims& index, int dim, int64_t value);

}  // namespace tessera::ops_test
