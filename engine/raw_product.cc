// Products: NumPy's matmul, linear, and a product into a slot that exists already.
#include <algorithm>

#include "engine/raw_support.h"

namespace tessera::raw {
namespace {

// A matrix operand a kernel can read: one of its last two strides is 1 (or its size 1).
Tensor readable(const Tensor& x) {
  const int r = x.ndim() - 2, c = x.ndim() - 1;
  const bool rows = x.strides()[c] == 1 && (x.shape()[r] == 1 || x.strides()[r] >= x.shape()[c]);
  const bool columns = x.strides()[r] == 1 && (x.shape()[c] == 1 || x.strides()[c] >= x.shape()[r]);
  return rows || columns ? x : contiguous(x);
}

// The view of a 2-d operand as one batch.
View as_batch(const Tensor& x) {
  return x
      .with_layout(x.offset(), {1, x.shape()[0], x.shape()[1]}, {0, x.strides()[0], x.strides()[1]})
      .view();
}

void check_matrix_product(const char* op, const Tensor& a, const Tensor& b) {
  check_same(op, a, b);
  check_floating(op, a);
}

void gemm(const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& bias, double beta) {
  if (c.numel() == 0) return;
  GemmArgs args;
  args.a = as_batch(a);
  args.b = as_batch(b);
  args.c = as_batch(c);
  if (bias.defined()) args.bias = bias.view();
  args.beta = beta;
  c.backend().gemm(args);
}

}  // namespace

void gemm_into(const Tensor& a, const Tensor& b, const Tensor& out, double beta) {
  check_matrix_product("gemm_into", a, b);
  check_same_or_f32("gemm_into", a, out);
  TESSERA_CHECK(
      a.ndim() == 2 && b.ndim() == 2 && out.ndim() == 2 && a.shape()[1] == b.shape()[0] &&
          out.shape()[0] == a.shape()[0] && out.shape()[1] == b.shape()[1] && out.is_contiguous(),
      "[gemm_into] a {}, b {} do not give out {}", describe(a), describe(b), describe(out));
  gemm(readable(a), readable(b), out, {}, beta);
  out.storage()->bump_version();
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b) {
  check_matrix_product("linear", x, w);
  TESSERA_CHECK(x.ndim() >= 1 && w.ndim() == 2 && x.shape().back() == w.shape()[1],
                "[linear] x {} does not fit weight {}", describe(x), describe(w));
  if (b.defined()) {
    check_same_or_f32("linear", x, b);
    TESSERA_CHECK(b.ndim() == 1 && b.shape()[0] == w.shape()[0],
                  "[linear] bias {} does not fit weight {}", describe(b), describe(w));
  }
  Shape shape = x.shape();
  shape.back() = w.shape()[0];
  Tensor y = empty_like(x, shape);
  const int64_t k = w.shape()[1], rows = k > 0 ? x.numel() / k : 0;
  if (k == 0) {
    fill_(y, 0);
    if (b.defined()) add_(y, expand(b, shape));
    return y;
  }
  gemm(readable(reshape(x, {rows, k})), readable(transpose(w, 0, 1)),
       reshape(y, {rows, shape.back()}), b.defined() ? contiguous(b) : b, 0);
  return y;
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_matrix_product("matmul", a, b);
  TESSERA_CHECK(a.ndim() >= 1 && b.ndim() >= 1, "[matmul] needs at least vectors: a {}, b {}",
                describe(a), describe(b));
  // Vectors become a row or a column, and lose the added dimension at the end.
  const Tensor a2 = a.ndim() == 1 ? reshape(a, {1, a.numel()}) : a;
  const Tensor b2 = b.ndim() == 1 ? reshape(b, {b.numel(), 1}) : b;
  const int64_t m = a2.size(-2), k = a2.size(-1), n = b2.size(-1);
  TESSERA_CHECK(k == b2.size(-2), "[matmul] a {} does not fit b {}", describe(a), describe(b));
  Shape batch_a, batch_b;
  for (int i = 0; i < a2.ndim() - 2; ++i) batch_a.push_back(a2.shape()[i]);
  for (int i = 0; i < b2.ndim() - 2; ++i) batch_b.push_back(b2.shape()[i]);
  for (int i = 3; i <= std::min(a2.ndim(), b2.ndim()); ++i) {
    TESSERA_CHECK(a2.size(-i) == b2.size(-i) || a2.size(-i) == 1 || b2.size(-i) == 1,
                  "[matmul] the batches of a {} and b {} do not broadcast", describe(a),
                  describe(b));
  }
  const Shape batch = broadcast_shapes("matmul", batch_a, batch_b);
  Shape out = batch;
  out.push_back(m);
  out.push_back(n);
  Tensor y = empty_like(a, out);
  if (k == 0) {
    fill_(y, 0);
  } else if (y.numel() > 0 && batch_b.empty()) {
    // One tall product, whatever a's strides: the tile grid must follow from the shapes alone.
    gemm(readable(reshape(a2, {-1, k})), readable(b2), reshape(y, {-1, n}), {}, 0);
  } else if (y.numel() > 0) {
    const int64_t count = numel_of(batch);
    auto batched = [&](const Tensor& t, int64_t rows, int64_t columns) {
      Shape full = batch;
      full.push_back(rows);
      full.push_back(columns);
      // reshape keeps strides (0 where broadcast) when the batch dimensions collapse.
      return reshape(expand(readable(t), full), {count, rows, columns});
    };
    GemmArgs args;
    const Tensor left = readable(batched(a2, m, k)), right = readable(batched(b2, k, n));
    args.a = left.view();
    args.b = right.view();
    args.c = reshape(y, {count, m, n}).view();
    y.backend().gemm(args);
  }
  Shape shape = batch;
  if (a.ndim() > 1) shape.push_back(m);
  if (b.ndim() > 1) shape.push_back(n);
  return reshape(y, shape);
}

}  // namespace tessera::raw
