// Reductions and order.
// Rule: kernels see contiguous (outer, n, inner): strided inputs are packed first, so that the
// order of additions depends on the logical shape and never on the layout.
#include <bit>

#include "engine/raw_support.h"

namespace tessera::raw {
namespace {

Shape without_or_one(const Shape& shape, unsigned reduced, bool keepdim) {
  Shape out;
  for (int i = 0; i < shape.size(); ++i) {
    if (reduced >> i & 1) {
      if (keepdim) out.push_back(1);
    } else {
      out.push_back(shape[i]);
    }
  }
  return out;
}

// Reduces runs of neighbouring dimensions one after another, the last first.
Tensor reduce(const char* name, ReduceOp op, const Tensor& x, const Dims& dims, bool keepdim) {
  check_defined(name, x);
  unsigned reduced = 0;
  for (int64_t dim : dims) {
    const int d = normalize_dim(name, dim, x.ndim());
    TESSERA_CHECK((reduced >> d & 1) == 0, "[{}] dimension {} is named twice", name, d);
    reduced |= 1u << d;
  }
  if (dims.empty()) reduced = (1u << x.ndim()) - 1;
  // Several runs of 16-bit floats are summed in f32 and rounded once.
  const int runs = std::popcount(reduced & ~(reduced << 1));
  if (runs > 1 && (x.dtype() == DType::kF16 || x.dtype() == DType::kBF16)) {
    return to(reduce(name, op, to(x, DType::kF32), dims, keepdim), x.dtype());
  }
  TESSERA_CHECK(op != ReduceOp::kMax || x.numel() > 0, "[{}] nothing to choose from in x {}", name,
                describe(x));
  Tensor t = contiguous(x);
  if (x.ndim() == 0 && op == ReduceOp::kSumSquares) {
    return unary(UnaryOp::kSquare, t);
  }
  Shape shape = x.shape();
  for (int last = x.ndim() - 1; last >= 0; --last) {
    if ((reduced >> last & 1) == 0) continue;
    int first = last;
    while (first > 0 && (reduced >> (first - 1) & 1)) --first;
    Middle m;
    for (int i = 0; i < shape.size(); ++i)
      (i < first ? m.outer : i <= last ? m.n : m.inner) *= shape[i];
    Tensor y = empty_like(x, {m.outer, m.inner});
    if (m.outer * m.inner > 0) {
      x.backend().reduce(op, reshaped_view(t, {m.outer, m.n, m.inner}), y.view());
    }
    if (op == ReduceOp::kSumSquares) op = ReduceOp::kSum;
    for (int i = first; i <= last; ++i) shape[i] = 1;
    t = y;
    last = first;
  }
  return reshape(t, without_or_one(x.shape(), reduced, keepdim));
}

}  // namespace

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  return reduce("sum", ReduceOp::kSum, x, dims, keepdim);
}
Tensor sum_rows(const Tensor& x, DType dtype) {
  check_floating("sum_rows", x);
  TESSERA_CHECK(x.ndim() == 2, "[sum_rows] needs a matrix: x {}", describe(x));
  Tensor y = Tensor::empty({x.size(1)}, dtype, x.device());
  if (y.numel() > 0) {
    x.backend().reduce(ReduceOp::kSum, reshaped_view(contiguous(x), {1, x.size(0), x.size(1)}),
                       reshaped_view(y, {1, x.size(1)}));
  }
  return y;
}
Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  return reduce("amax", ReduceOp::kMax, x, dims, keepdim);
}
Tensor sum_squares(const Tensor& x) {
  check_floating("sum_squares", x);
  return reduce("sum_squares", ReduceOp::kSumSquares, reshape(x, {-1}), {}, false);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  check_defined("sum_to", x);
  if (x.shape() == shape) return x;
  Dims dims;
  const int lead = x.ndim() - shape.size();
  for (int i = 0; i < x.ndim(); ++i) {
    if (i < lead || (shape[i - lead] == 1 && x.shape()[i] != 1)) dims.push_back(i);
  }
  return dims.empty() ? reshape(x, shape) : reshape(sum(x, dims, true), shape);
}

Tensor argmax(const Tensor& x, int64_t dim, bool keepdim) {
  check_defined("argmax", x);
  const int d = normalize_dim("argmax", dim, x.ndim());
  TESSERA_CHECK(x.shape()[d] > 0, "[argmax] nothing to choose from in x {}", describe(x));
  const Middle m = middle_of(x.shape(), d);
  Tensor y = Tensor::empty(without_or_one(x.shape(), 1u << d, keepdim), DType::kI64, x.device());
  if (y.numel() > 0) {
    x.backend().argmax(reshaped_view(contiguous(x), {m.outer, m.n, m.inner}),
                       reshaped_view(y, {m.outer, m.inner}));
  }
  // As for values that come from the host: those on the host are looked at when they are used.
  if (x.device() != Device::kCpu) y.storage()->note_indices_below(m.n);
  return y;
}

Tensor cumsum(const Tensor& x, int64_t dim) {
  check_defined("cumsum", x);
  const Middle m = middle_of(x.shape(), normalize_dim("cumsum", dim, x.ndim()));
  Tensor y = empty_like(x, x.shape());
  const Shape flat{m.outer, m.n, m.inner};
  if (y.numel() > 0) {
    x.backend().cumsum(reshaped_view(contiguous(x), flat), reshaped_view(y, flat));
  }
  return y;
}

Tensor argsort(const Tensor& x, int64_t dim) {
  check_defined("argsort", x);
  const Middle m = middle_of(x.shape(), normalize_dim("argsort", dim, x.ndim()));
  Tensor y = Tensor::empty(x.shape(), DType::kI64, x.device());
  const Shape flat{m.outer, m.n, m.inner};
  if (y.numel() > 0) {
    x.backend().argsort(reshaped_view(contiguous(x), flat), reshaped_view(y, flat));
  }
  return y;
}

std::optional<int64_t> first_nonfinite(const Tensor& x) {
  check_defined("first_nonfinite", x);
  if (x.numel() == 0 || !is_floating(x.dtype())) return std::nullopt;
  const int64_t at = x.backend().first_nonfinite(contiguous(x).view());
  return at < 0 ? std::nullopt : std::optional(at);
}

}  // namespace tessera::raw
