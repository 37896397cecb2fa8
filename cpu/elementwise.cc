// Elementwise kernels: every functor of the table applied to lanes.
#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "engine/visit_op.h"

namespace tessera::cpu {
namespace {

template <class F, class C>
void unary_block(const C* const* in, C* const* out, int64_t n, const void* context) {
  const ScalarArgs args = *static_cast<const ScalarArgs*>(context);
  int64_t i = 0;
  for (; i + kLane<C> <= n; i += kLane<C>) {
    F::f(Lane<C>::load(in[0] + i), args).store(out[0] + i);
  }
  if (i < n) F::f(Lane<C>::load_part(in[0] + i, n - i), args).store_part(out[0] + i, n - i);
}

template <class F, class C>
void binary_block(const C* const* in, C* const* out, int64_t n, const void*) {
  int64_t i = 0;
  for (; i + kLane<C> <= n; i += kLane<C>) {
    F::f(Lane<C>::load(in[0] + i), Lane<C>::load(in[1] + i)).store(out[0] + i);
  }
  if (i < n) {
    // Padding with ones keeps an integer division away from zero.
    F::f(Lane<C>::load_part(in[0] + i, n - i, C(1)), Lane<C>::load_part(in[1] + i, n - i, C(1)))
        .store_part(out[0] + i, n - i);
  }
}

template <class C>
void where_block(const C* const* in, C* const* out, int64_t n, const void*) {
  for (int64_t i = 0; i < n; ++i) out[0][i] = in[0][i] != C(0) ? in[1][i] : in[2][i];
}

}  // namespace

void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y) {
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) {
      for_each_block<C, 1, 1>({x, y}, &unary_block<decltype(f), C>, &args);
    });
  });
}

void binary(BinaryOp op, const View& a, const View& b, const View& y) {
  visit_compute(a.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) {
      for_each_block<C, 2, 1>({a, b, y}, &binary_block<decltype(f), C>, nullptr);
    });
  });
}

void compare(CompareOp op, const View& a, const View& b, const View& y) {
  visit_compute(a.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) {
      for_each_block<C, 2, 1>({a, b, y}, &binary_block<decltype(f), C>, nullptr);
    });
  });
}

void where(const View& condition, const View& a, const View& b, const View& y) {
  visit_compute(y.dtype, [&](auto tag) {
    using C = decltype(tag);
    for_each_block<C, 3, 1>({condition, a, b, y}, &where_block<C>, nullptr);
  });
}

}  // namespace tessera::cpu
