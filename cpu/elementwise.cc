// Elementwise kernels: every functor of the table applied to lanes.
#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "engine/visit_op.h"

namespace tessera::cpu {
namespace {

template <class F, class C>
void unary_block(const C* const* in, C* const* out, int64_t n, const void* context) {
  const ScalarArgs args = *static_cast<const ScalarArgs*>(context);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(F::f(load_lane(in[0] + i, count), args), out[0] + i, count);
  });
}

template <class F, class C>
void binary_block(const C* const* in, C* const* out, int64_t n, const void*) {
  // Padding with ones keeps an integer division away from zero.
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> a = load_lane(in[0] + i, count, C(1)), b = load_lane(in[1] + i, count, C(1));
    store_lane(F::f(a, b), out[0] + i, count);
  });
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

void scale_by(const View& by, double factor, const View& x) {
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    C scale;
    gather_elements(by.data, by.dtype, 1, 1, &scale);
    scale *= static_cast<C>(factor);
    unary(UnaryOp::kMulScalar, {double(scale), 0}, x, x);
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
