// The derivatives of the elementwise table, lane by lane.
#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "engine/visit_op.h"

namespace tessera::cpu {
namespace {

template <class F, class C>
void unary_backward_block(const C* const* in, C* const* out, int64_t n, const void* context) {
  const ScalarArgs args = *static_cast<const ScalarArgs*>(context);
  int64_t i = 0;
  for (; i + kLane<C> <= n; i += kLane<C>) {
    F::df(Lane<C>::load(in[0] + i), Lane<C>::load(in[1] + i), args).store(out[0] + i);
  }
  if (i < n) {
    F::df(Lane<C>::load_part(in[0] + i, n - i, C(1)), Lane<C>::load_part(in[1] + i, n - i), args)
        .store_part(out[0] + i, n - i);
  }
}

// d(lane a, lane b, lane dy) for one of the two inputs.
template <class C, Lane<C> (*d)(Lane<C>, Lane<C>, Lane<C>)>
void binary_backward_block(const C* const* in, C* const* out, int64_t n, const void*) {
  int64_t i = 0;
  for (; i + kLane<C> <= n; i += kLane<C>) {
    d(Lane<C>::load(in[0] + i), Lane<C>::load(in[1] + i), Lane<C>::load(in[2] + i))
        .store(out[0] + i);
  }
  if (i < n) {
    d(Lane<C>::load_part(in[0] + i, n - i, C(1)), Lane<C>::load_part(in[1] + i, n - i, C(1)),
      Lane<C>::load_part(in[2] + i, n - i))
        .store_part(out[0] + i, n - i);
  }
}

}  // namespace

void unary_backward(UnaryOp op, ScalarArgs args, const View& saved, const View& dy,
                    const View& dx) {
  visit_floating(dy.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) {
      for_each_block<C, 2, 1>({saved, dy, dx}, &unary_backward_block<decltype(f), C>, &args);
    });
  });
}

void binary_backward(BinaryOp op, const View& a, const View& b, const View& dy, const View& da,
                     const View& db) {
  visit_floating(dy.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) {
      using F = decltype(f);
      if (da.data != nullptr) {
        for_each_block<C, 3, 1>({a, b, dy, da}, &binary_backward_block<C, &F::template da<Lane<C>>>,
                                nullptr);
      }
      if (db.data != nullptr) {
        for_each_block<C, 3, 1>({a, b, dy, db}, &binary_backward_block<C, &F::template db<Lane<C>>>,
                                nullptr);
      }
    });
  });
}

}  // namespace tessera::cpu
