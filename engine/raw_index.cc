// Indexing and assembling: gather, scatter-add, rows by number, cat, pad.
#include "engine/raw_support.h"

namespace tessera::raw {
namespace {

void check_range(const char* op, const Tensor& x, int dim, const Tensor& index) {
  TESSERA_CHECK(in_range(index, x.shape()[dim]), "[{}] an index of {} leaves dimension {} of x {}",
                op, describe(index), dim, describe(x));
}

// index as (outer, k, inner), its strides kept where they can be.
View index_view(const Tensor& index, int dim) {
  const Middle m = middle_of(index.shape(), dim);
  return reshape(index, {m.outer, m.n, m.inner}).view();
}

// A gather along `dim` where one index serves whole rows: stride 0 along everything after it.
Tensor rows_of(const Tensor& x, const Tensor& index3, const Middle& m, const Shape& out) {
  Tensor y = empty_like(x, out);
  if (y.numel() == 0) return y;
  const int64_t k = index3.shape()[1];
  x.backend().gather(reshaped_view(contiguous(x), {m.outer, m.n, m.inner}),
                     expand(index3, {m.outer, k, m.inner}).view(),
                     reshaped_view(y, {m.outer, k, m.inner}));
  return y;
}

}  // namespace

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  check_defined("gather", x);
  check_indices("gather", index);
  const int d = normalize_dim("gather", dim, x.ndim());
  bool fits = index.ndim() == x.ndim();
  for (int i = 0; fits && i < x.ndim(); ++i) fits = i == d || index.shape()[i] == x.shape()[i];
  TESSERA_CHECK(fits, "[gather] index {} must match x {} in every dimension but {}",
                describe(index), describe(x), d);
  check_range("gather", x, d, index);
  const Middle m = middle_of(x.shape(), d);
  Tensor y = empty_like(x, index.shape());
  if (y.numel() > 0) {
    x.backend().gather(reshaped_view(contiguous(x), {m.outer, m.n, m.inner}), index_view(index, d),
                       reshaped_view(y, {m.outer, index.shape()[d], m.inner}));
  }
  return y;
}

Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& s) {
  check_same("scatter_add", x, s);
  check_indices("scatter_add", index);
  const int d = normalize_dim("scatter_add", dim, x.ndim());
  bool fits = index.shape() == s.shape() && index.ndim() == x.ndim();
  for (int i = 0; fits && i < x.ndim(); ++i) fits = i == d || index.shape()[i] == x.shape()[i];
  TESSERA_CHECK(fits, "[scatter_add] index {}, s {} do not fit x {} along dimension {}",
                describe(index), describe(s), describe(x), d);
  check_range("scatter_add", x, d, index);
  Tensor y = clone(x);
  const Middle m = middle_of(x.shape(), d);
  if (s.numel() > 0) {
    x.backend().scatter_add(reshaped_view(contiguous(s), {m.outer, s.shape()[d], m.inner}),
                            index_view(index, d), reshaped_view(y, {m.outer, m.n, m.inner}));
  }
  return y;
}

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  check_defined("index_select", x);
  check_indices("index_select", index);
  const int d = normalize_dim("index_select", dim, x.ndim());
  TESSERA_CHECK(index.ndim() == 1, "[index_select] index must be 1-d: {}", describe(index));
  check_range("index_select", x, d, index);
  Shape out = x.shape();
  out[d] = index.numel();
  return rows_of(x, reshape(index, {1, -1, 1}), middle_of(x.shape(), d), out);
}

Tensor take_rows(const Tensor& x, const Tensor& ids) {
  check_defined("take_rows", x);
  check_indices("take_rows", ids);
  TESSERA_CHECK(x.ndim() >= 2 && ids.ndim() == 2 && ids.shape()[0] == x.shape()[0],
                "[take_rows] ids {} do not fit x {}", describe(ids), describe(x));
  check_range("take_rows", x, 1, ids);
  Shape out = x.shape();
  out[1] = ids.shape()[1];
  return rows_of(x, reshape(ids, {ids.shape()[0], ids.shape()[1], 1}), middle_of(x.shape(), 1),
                 out);
}

bool in_range(const Tensor& index, int64_t n) {
  return index.numel() == 0 || index.storage()->known_below(n) ||
         index.backend().index_in_range(index.view(), n);
}

Tensor nonzero_rows(const Tensor& mask) {
  check_defined("nonzero_rows", mask);
  TESSERA_CHECK(mask.dtype() == DType::kBool, "[nonzero_rows] the mask must be bool: {}",
                describe(mask));
  const Tensor host = contiguous(to(mask, Device::kCpu));
  const bool* p = host.data<bool>();
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < host.numel(); ++i) {
    if (p[i]) rows.push_back(i);
  }
  return Tensor::from(rows, {static_cast<int64_t>(rows.size())}, mask.device());
}

Tensor cat(const std::vector<Tensor>& parts, int64_t dim) {
  TESSERA_CHECK(!parts.empty(), "[cat] nothing to join");
  check_defined("cat", parts[0]);
  const int d = normalize_dim("cat", dim, parts[0].ndim());
  Shape shape = parts[0].shape();
  shape[d] = 0;
  for (const Tensor& p : parts) {
    check_same("cat", parts[0], p);
    bool fits = p.ndim() == shape.size();
    for (int i = 0; fits && i < shape.size(); ++i) fits = i == d || p.shape()[i] == shape[i];
    TESSERA_CHECK(fits, "[cat] {} and {} differ outside dimension {}", describe(parts[0]),
                  describe(p), d);
    shape[d] += p.shape()[d];
  }
  Tensor y = empty_like(parts[0], shape);
  int64_t at = 0;
  for (const Tensor& p : parts) {
    copy_(slice(y, d, at, at + p.shape()[d]), p);
    at += p.shape()[d];
  }
  return y;
}

Tensor pad2d(const Tensor& x, int64_t left, int64_t right, int64_t top, int64_t bottom,
             double value) {
  check_defined("pad2d", x);
  TESSERA_CHECK(x.ndim() >= 2 && left >= 0 && right >= 0 && top >= 0 && bottom >= 0,
                "[pad2d] x {} with margins {}, {}, {}, {}", describe(x), left, right, top, bottom);
  const int h = x.ndim() - 2, w = x.ndim() - 1;
  Shape shape = x.shape();
  shape[h] += top + bottom;
  shape[w] += left + right;
  Tensor y = Tensor::full(shape, value, x.dtype(), x.device());
  copy_(slice(slice(y, h, top, top + x.shape()[h]), w, left, left + x.shape()[w]), x);
  return y;
}

}  // namespace tessera::raw
