// In-place writes, copies, and the elementwise ops of the table.
#include "engine/raw_support.h"

namespace tessera::raw {
namespace {

bool fills_storage(const Tensor& t) {
  return t.is_contiguous() &&
         static_cast<size_t>(t.numel()) * size_of(t.dtype()) == t.storage()->bytes();
}

// The bytes of `src` to another device, and what is known of indices. Both are contiguous, of one
// dtype and size; one of the devices is the host.
void copy_across(const Tensor& dst, const Tensor& src) {
  const size_t bytes = static_cast<size_t>(src.numel()) * size_of(src.dtype());
  if (dst.device() == Device::kCpu) {
    src.backend().copy_to_host(dst.view().data, src.view().data, bytes);
    return;
  }
  TESSERA_CHECK(src.device() == Device::kCpu, "no direct road from {} to {}", name_of(src.device()),
                name_of(dst.device()));
  dst.backend().copy_from_host(dst.view().data, src.view().data, bytes);
  if (src.dtype() == DType::kI64 && fills_storage(dst)) {
    dst.storage()->note_indices(src.data<int64_t>(), src.numel());
  }
}

}  // namespace

void fill_(const Tensor& t, double value) {
  check_defined("fill_", t);
  if (t.numel() > 0) t.backend().fill(t.view(), value);
  t.storage()->bump_version();
}

void copy_(const Tensor& dst, const Tensor& src) {
  check_defined("copy_", dst);
  check_defined("copy_", src);
  const Tensor from = src.shape() == dst.shape() ? src : expand(src, dst.shape());
  if (dst.device() != src.device()) {
    TESSERA_CHECK(dst.is_contiguous() && dst.dtype() == src.dtype(),
                  "[copy_] {} from {} to {} on {}: across devices nothing is converted",
                  describe(src), name_of(src.device()), describe(dst), name_of(dst.device()));
    dst.storage()->bump_version();
    if (dst.numel() > 0) copy_across(dst, contiguous(from));
    return;
  }
  if (dst.numel() > 0) dst.backend().copy(from.view(), dst.view());
  dst.storage()->bump_version();
  if (fills_storage(dst) && src.dtype() == dst.dtype()) {
    dst.storage()->note_indices_of(*src.storage());
  }
}

void add_(const Tensor& dst, const Tensor& src) {
  check_same("add_", dst, src);
  TESSERA_CHECK(dst.shape() == src.shape(), "[add_] shapes differ: {} and {}", dst.shape(),
                src.shape());
  if (dst.numel() > 0) {
    dst.backend().binary(BinaryOp::kAdd, dst.view(), src.view(), dst.view());
  }
  dst.storage()->bump_version();
}

void scale_(const Tensor& dst, double factor) {
  check_floating("scale_", dst);
  if (dst.numel() > 0) {
    dst.backend().unary(UnaryOp::kMulScalar, {factor, 0}, dst.view(), dst.view());
  }
  dst.storage()->bump_version();
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor clone(const Tensor& x) { return to(x.detach(), x.dtype()); }

Tensor to(const Tensor& x, DType dtype) {
  check_defined("to", x);
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  if (x.numel() > 0) x.backend().copy(x.view(), y.view());
  return y;
}

Tensor to(const Tensor& x, Device device) {
  check_defined("to", x);
  if (x.device() == device) return x;
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device);
  if (x.numel() > 0) copy_across(y, contiguous(x));
  return y;
}

Tensor from_bytes(std::span<const std::byte> bytes, Device device) {
  return Tensor::from(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
                      {std::ssize(bytes)}, device);
}

Tensor unary(UnaryOp op, const Tensor& x, ScalarArgs args) {
  check_floating(name_of(op), x);
  Tensor y = empty_like(x, x.shape());
  if (x.numel() > 0) x.backend().unary(op, args, x.view(), y.view());
  return y;
}

Tensor unary_backward(UnaryOp op, const Tensor& saved, const Tensor& dy, ScalarArgs args) {
  check_floating(name_of(op), dy);
  Tensor dx = empty_like(dy, dy.shape());
  if (dy.numel() > 0) dy.backend().unary_backward(op, args, saved.view(), dy.view(), dx.view());
  return dx;
}

void unary_backward_(UnaryOp op, const Tensor& saved, const Tensor& dy, ScalarArgs args) {
  check_floating(name_of(op), dy);
  if (dy.numel() > 0) dy.backend().unary_backward(op, args, saved.view(), dy.view(), dy.view());
  dy.storage()->bump_version();
}

Tensor binary(BinaryOp op, const Tensor& a, const Tensor& b) {
  check_same(name_of(op), a, b);
  const Shape shape = broadcast_shapes(name_of(op), a.shape(), b.shape());
  Tensor y = empty_like(a, shape);
  if (y.numel() > 0) {
    a.backend().binary(op, expand(a, shape).view(), expand(b, shape).view(), y.view());
  }
  return y;
}

Pair binary_backward(BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& dy, bool want_a,
                     bool want_b) {
  Pair d;
  if (want_a) d.first = empty_like(dy, dy.shape());
  if (want_b) d.second = empty_like(dy, dy.shape());
  if (dy.numel() > 0) {
    dy.backend().binary_backward(op, expand(a, dy.shape()).view(), expand(b, dy.shape()).view(),
                                 dy.view(), want_a ? d.first.view() : View{},
                                 want_b ? d.second.view() : View{});
  }
  return d;
}

Tensor compare(CompareOp op, const Tensor& a, const Tensor& b) {
  check_same(name_of(op), a, b);
  const Shape shape = broadcast_shapes(name_of(op), a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, DType::kBool, a.device());
  if (y.numel() > 0) {
    a.backend().compare(op, expand(a, shape).view(), expand(b, shape).view(), y.view());
  }
  return y;
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check_defined("where", condition);
  check_same("where", a, b);
  TESSERA_CHECK(condition.dtype() == DType::kBool, "[where] the condition must be bool: {}",
                describe(condition));
  const Shape shape =
      broadcast_shapes("where", condition.shape(), broadcast_shapes("where", a.shape(), b.shape()));
  Tensor y = empty_like(a, shape);
  if (y.numel() > 0) {
    y.backend().where(expand(condition, shape).view(), expand(a, shape).view(),
                      expand(b, shape).view(), y.view());
  }
  return y;
}

}  // namespace tessera::raw
