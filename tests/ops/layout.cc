// Filling and placing of test inputs.
#include "tests/ops/layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/backend.h"
#include "engine/philox.h"
#include "engine/raw.h"

namespace tessera::ops_test {
namespace {

constexpr size_t kMargin = 192;  // bytes on each side: three cache lines, a multiple of every size
constexpr uint8_t kPattern = 0xC7;  // read as a float, -1e5 in f32 and as negative in i64

Array fill(const Input& input, uint64_t seed) {
  PhiloxStream random(RandomKey{seed, 7, 77});
  Array a(input.shape);
  for (size_t i = 0; i < a.values.size(); ++i) {
    switch (input.fill) {
      case Fill::kNormal:
        a.values[i] = input.low + input.high * random.normal();
        break;
      case Fill::kUniform:
        a.values[i] = random.uniform(input.low, input.high);
        break;
      case Fill::kDistinct:
        a.values[i] = 0.25 * (static_cast<double>(i) - static_cast<double>(a.size()) / 2) + 0.1;
        break;
      case Fill::kLevels:
      case Fill::kIndex:
        a.values[i] = std::floor(random.uniform(input.low, input.high));
        break;
      case Fill::kBool:
        a.values[i] = random.coin() ? 1 : 0;
        break;
    }
  }
  if (input.fill == Fill::kDistinct) {
    for (size_t i = a.values.size(); i > 1; --i) {
      std::swap(a.values[i - 1],
                a.values[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
    }
  }
  return a;
}

int expanded_dim(const Shape& shape) {
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] > 1) return d;
  }
  return -1;
}

// Where the elements of a layout lie, in elements from the window's lowest address.
struct Plan {
  int64_t offset = 0;
  Strides strides;
  int64_t extent = 0;  // elements between the margins
};

Plan plan(const Shape& shape, Layout layout) {
  Plan p;
  const int n = shape.size();
  p.strides = Dims::filled(n, 1);
  int64_t step = 1;
  const auto lay = [&](int d, int64_t gap) {
    p.strides[d] = step * gap;
    step *= gap * std::max<int64_t>(shape[d], 1);
  };
  switch (layout) {
    case Layout::kContiguous:
      for (int d = n - 1; d >= 0; --d) lay(d, 1);
      break;
    case Layout::kTransposed:
      for (int d = 0; d < n; ++d) lay(d, 1);
      break;
    case Layout::kSliced:
      for (int d = n - 1; d >= 0; --d) lay(d, 2);
      break;
    case Layout::kExpanded:
      for (int d = n - 1; d >= 0; --d) {
        if (d == expanded_dim(shape))
          p.strides[d] = 0;
        else
          lay(d, 1);
      }
      break;
    case Layout::kOffset:
      p.offset = 3;  // no alignment but the element's own
      for (int d = n - 1; d >= 0; --d) lay(d, 1);
      step += 3;
      break;
    case Layout::kFlipped:
      for (int d = n - 1; d >= 0; --d) {
        lay(d, 1);
        p.offset += std::max<int64_t>(shape[d] - 1, 0) * p.strides[d];
        p.strides[d] = -p.strides[d];
      }
      break;
  }
  p.extent = step;
  return p;
}

}  // namespace

const char* name_of(Layout layout) {
  static constexpr const char* kNames[] = {"contiguous", "transposed", "sliced",
                                           "expanded",   "offset",     "flipped"};
  return kNames[static_cast<int>(layout)];
}

Arrays make_inputs(const Case& c, Layout layout) {
  Arrays inputs;
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    Array a = fill(c.inputs[k], 1000 + k);
    const int dim = layout == Layout::kExpanded ? expanded_dim(a.shape) : -1;
    if (dim >= 0) {
      a = build(a.shape, [&](const Dims& index) { return a(with(index, dim, 0)); });
    }
    inputs.push_back(std::move(a));
  }
  return inputs;
}

Array make_upstream(const Shape& shape, uint64_t seed) { return fill(normal(shape), 5000 + seed); }

Array rounded(const Array& x, DType dtype) {
  return visit_dtype(dtype, [&](auto t) {
    using T = decltype(t);
    return map(x, [](double v) { return convert<double>(convert<T>(v)); });
  });
}

Placed::Placed(const Array& values, DType dtype, Layout layout, Device device) {
  const Plan p = plan(values.shape, layout);
  const int64_t size = static_cast<int64_t>(size_of(dtype));
  const int64_t margin = static_cast<int64_t>(kMargin) / size;
  image_.assign(static_cast<size_t>((2 * margin + p.extent) * size), kPattern);
  visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    uint8_t* first = image_.data() + (margin + p.offset) * size;
    const double* value = values.values.data();
    each_index(values.shape, [&](const Dims& index) {
      int64_t at = 0;
      for (int d = 0; d < index.size(); ++d) at += index[d] * p.strides[d];
      const T element = convert<T>(*value++);
      std::memcpy(first + at * size, &element, sizeof(T));
    });
  });
  block_ = Tensor::from(image_, {static_cast<int64_t>(image_.size())}, device);
  tensor_ = Tensor::window(block_.storage(), margin + p.offset, values.shape, p.strides, dtype);
}

bool Placed::untouched() const {
  std::vector<uint8_t> now(image_.size());
  block_.backend().copy_to_host(now.data(), block_.storage()->data(), now.size());
  return now == image_;
}

Array read(const Tensor& t) {
  Array out(t.shape());
  const Tensor packed = raw::contiguous(t);
  std::vector<uint8_t> bytes(out.values.size() * size_of(t.dtype()));
  if (!bytes.empty()) t.backend().copy_to_host(bytes.data(), packed.view().data, bytes.size());
  visit_dtype(t.dtype(), [&](auto tag) {
    using T = decltype(tag);
    for (size_t i = 0; i < out.values.size(); ++i) {
      T element;
      std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
      out.values[i] = convert<double>(element);
    }
  });
  return out;
}

}  // namespace tessera::ops_test
