// Index arithmetic of the references.
#include "tests/ops/array.h"

#include <algorithm>

namespace tessera::ops_test {

Array::Array(const Shape& shape, double fill) : shape(shape) {
  size_t n = 1;
  for (int64_t d : shape) n *= static_cast<size_t>(d);
  values.assign(n, fill);
}

int64_t Array::position(const Dims& index) const {
  TESSERA_CHECK(index.size() == ndim(), "reference: index {} into shape {}", index, shape);
  int64_t p = 0;
  for (int d = 0; d < ndim(); ++d) {
    TESSERA_CHECK(index[d] >= 0 && index[d] < shape[d], "reference: index {} into shape {}", index,
                  shape);
    p = p * shape[d] + index[d];
  }
  return p;
}

double broadcast_at(const Array& x, const Dims& index) {
  Dims own;
  const int skip = index.size() - x.ndim();
  for (int d = 0; d < x.ndim(); ++d) own.push_back(x.shape[d] == 1 ? 0 : index[d + skip]);
  return x(own);
}

Shape broadcast_shape(const Shape& a, const Shape& b) {
  const int ndim = std::max(a.size(), b.size());
  Shape out;
  for (int d = 0; d < ndim; ++d) {
    const int da = d - ndim + a.size(), db = d - ndim + b.size();
    const int64_t na = da < 0 ? 1 : a[da], nb = db < 0 ? 1 : b[db];
    out.push_back(na == 1 ? nb : na);
  }
  return out;
}

Dims without(const Dims& index, int dim) {
  Dims out = index;
  out.erase(dim);
  return out;
}

Dims with(const Dims& index, int dim, int64_t value) {
  Dims out = index;
  out[dim] = value;
  return out;
}

}  // namespace tessera::ops_test
