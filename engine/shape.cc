// Overflow-checked sizes, strides and broadcasting.
#include "engine/shape.h"

namespace tessera {

int64_t numel_of(const Shape& shape) {
  int64_t n = 1;
  bool overflow = false;
  for (int64_t d : shape) {
    TESSERA_CHECK(d >= 0, "negative size in shape {}", shape);
    overflow |= __builtin_mul_overflow(n, d == 0 ? 1 : d, &n);
  }
  TESSERA_CHECK(!overflow, "shape {} has more elements than an int64 can count", shape);
  for (int64_t d : shape) {
    if (d == 0) return 0;
  }
  return n;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = Dims::filled(shape.size(), 1);
  int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i] == 0 ? 1 : shape[i];
  }
  return strides;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const int ndim = std::max(a.size(), b.size());
  Shape out = Dims::filled(ndim, 1);
  for (int i = 0; i < ndim; ++i) {
    const int ia = i - (ndim - a.size()), ib = i - (ndim - b.size());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    TESSERA_CHECK(da == db || da == 1 || db == 1, "[{}] shapes {} and {} do not broadcast", op, a,
                  b);
    out[i] = da == 1 ? db : da;
  }
  return out;
}

int normalize_dim(const char* op, int64_t dim, int ndim) {
  const int64_t d = dim < 0 ? dim + ndim : dim;
  TESSERA_CHECK(d >= 0 && d < ndim, "[{}] dimension {} does not exist in {} dimensions", op, dim,
                ndim);
  return static_cast<int>(d);
}

std::string to_string(const Shape& shape) {
  std::string s = "(";
  for (int i = 0; i < shape.size(); ++i) {
    if (i > 0) s += ", ";
    s += std::to_string(shape[i]);
  }
  return s + (shape.size() == 1 ? ",)" : ")");
}

}  // namespace tessera
