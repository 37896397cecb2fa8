// Views: other shapes and strides on the same storage. No elements move, save in reshape where
// the layout cannot be kept.
#include "engine/raw_support.h"

namespace tessera::raw {

Tensor permute(const Tensor& x, const Dims& dims) {
  check_defined("permute", x);
  TESSERA_CHECK(dims.size() == x.ndim(), "[permute] {} dimensions for x {}", dims.size(),
                describe(x));
  Shape shape;
  Strides strides;
  unsigned seen = 0;
  for (int64_t dim : dims) {
    const int d = normalize_dim("permute", dim, x.ndim());
    TESSERA_CHECK((seen >> d & 1) == 0, "[permute] dimension {} is named twice in {}", d, dims);
    seen |= 1u << d;
    shape.push_back(x.shape()[d]);
    strides.push_back(x.strides()[d]);
  }
  return x.with_layout(x.offset(), shape, strides);
}

Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
  check_defined("transpose", x);
  Dims order;
  for (int i = 0; i < x.ndim(); ++i) order.push_back(i);
  std::swap(order[normalize_dim("transpose", dim0, x.ndim())],
            order[normalize_dim("transpose", dim1, x.ndim())]);
  return permute(x, order);
}

Tensor expand(const Tensor& x, const Shape& shape) {
  check_defined("expand", x);
  if (x.shape() == shape) return x;
  TESSERA_CHECK(broadcast_shapes("expand", x.shape(), shape) == shape,
                "[expand] {} does not broadcast to {}", x.shape(), shape);
  Strides strides = Dims::filled(shape.size(), 0);
  const int lead = shape.size() - x.ndim();
  for (int i = 0; i < x.ndim(); ++i) {
    if (x.shape()[i] != 1 || shape[lead + i] == 1) strides[lead + i] = x.strides()[i];
  }
  return x.with_layout(x.offset(), shape, strides);
}

Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t stop, int64_t step) {
  check_defined("slice", x);
  const int d = normalize_dim("slice", dim, x.ndim());
  const int64_t n = x.shape()[d];
  if (start < 0) start += n;
  if (stop < 0) stop += n;
  TESSERA_CHECK(step > 0, "[slice] step must be positive, got {}", step);
  TESSERA_CHECK(start >= 0 && start <= stop && stop <= n,
                "[slice] {}:{} leaves dimension {} of x {}", start, stop, d, describe(x));
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[d] = (stop - start + step - 1) / step;
  strides[d] *= step;
  const int64_t offset = shape[d] > 0 ? x.offset() + start * x.strides()[d] : x.offset();
  return x.with_layout(offset, shape, strides);
}

Tensor select(const Tensor& x, int64_t dim, int64_t index) {
  check_defined("select", x);
  const int d = normalize_dim("select", dim, x.ndim());
  const int64_t n = x.shape()[d], i = index < 0 ? index + n : index;
  TESSERA_CHECK(i >= 0 && i < n, "[select] index {} leaves dimension {} of x {}", index, d,
                describe(x));
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape.erase(d);
  strides.erase(d);
  return x.with_layout(x.offset() + i * x.strides()[d], shape, strides);
}

Tensor flip(const Tensor& x, int64_t dim) {
  check_defined("flip", x);
  const int d = normalize_dim("flip", dim, x.ndim());
  if (x.numel() == 0) return x.detach();
  Strides strides = x.strides();
  strides[d] = -strides[d];
  return x.with_layout(x.offset() + (x.shape()[d] - 1) * x.strides()[d], x.shape(), strides);
}

namespace {

// The strides that show x under `shape` without moving elements, if there are any: each run of
// x's dimensions that is contiguous in itself may be cut anew.
bool view_strides(const Tensor& x, const Shape& shape, Strides* out) {
  *out = contiguous_strides(shape);
  if (x.is_contiguous()) return true;
  int at = shape.size() - 1;
  int64_t run = 1, base = 0;
  bool in_run = false;
  for (int i = x.ndim() - 1; i >= 0; --i) {
    if (!in_run) base = x.strides()[i];
    in_run = true;
    run *= x.shape()[i];
    bool end = i == 0;
    if (!end && x.shape()[i - 1] != 1 && x.strides()[i - 1] != base * run) end = true;
    if (!end) continue;
    int64_t covered = 1;
    while (at >= 0 && covered < run) {
      (*out)[at] = base * covered;
      covered *= shape[at--];
    }
    if (covered != run) return false;
    run = 1;
    in_run = false;
  }
  for (; at >= 0; --at) (*out)[at] = base;  // leading ones
  return true;
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& wanted) {
  check_defined("reshape", x);
  Shape shape = wanted;
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      TESSERA_CHECK(unknown < 0, "[reshape] more than one -1 in {} for x {}", wanted, describe(x));
      unknown = i;
    } else {
      TESSERA_CHECK(shape[i] >= 0, "[reshape] negative size in {}", wanted);
      known *= shape[i];
    }
  }
  if (unknown >= 0) {
    TESSERA_CHECK(known > 0 && x.numel() % known == 0, "[reshape] {} does not fit x {}", wanted,
                  describe(x));
    shape[unknown] = x.numel() / known;
  }
  TESSERA_CHECK(numel_of(shape) == x.numel(), "[reshape] {} does not fit x {}", wanted,
                describe(x));
  if (x.numel() == 0) return empty_like(x, shape);
  Strides strides;
  if (view_strides(x, shape, &strides)) return x.with_layout(x.offset(), shape, strides);
  return reshape(clone(x), shape);
}

Tensor windows2d(const Tensor& x, int64_t kh, int64_t kw, int64_t stride, int64_t dilation) {
  check_defined("windows2d", x);
  TESSERA_CHECK(x.ndim() == 4 && kh > 0 && kw > 0 && stride > 0 && dilation > 0,
                "[windows2d] x {}, kernel {} x {}, stride {}, dilation {}", describe(x), kh, kw,
                stride, dilation);
  const Shape& s = x.shape();
  const Strides& t = x.strides();
  const int64_t oh = (s[2] - (kh - 1) * dilation - 1) / stride + 1;
  const int64_t ow = (s[3] - (kw - 1) * dilation - 1) / stride + 1;
  TESSERA_CHECK(s[2] > (kh - 1) * dilation && s[3] > (kw - 1) * dilation,
                "[windows2d] kernel {} x {} does not fit x {}", kh, kw, describe(x));
  return x.with_layout(
      x.offset(), {s[0], s[1], kh, kw, oh, ow},
      {t[0], t[1], t[2] * dilation, t[3] * dilation, t[2] * stride, t[3] * stride});
}

}  // namespace tessera::raw
