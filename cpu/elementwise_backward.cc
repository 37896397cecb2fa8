// The derivatives of the elementwise table, lane by lane.
#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "engine/visit_op.h"

namespace tessera::cpu {
namespace {

template <class F, class C>
void unary_backward_block(const C* const* in, C* const* out, int64_t n, const void* context) {
  const ScalarArgs args = *static_cast<const ScalarArgs*>(context);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> saved = load_lane(in[0] + i, count, C(1)), dy = load_lane(in[1] + i, count);
    store_lane(F::df(saved, dy, args), out[0] + i, count);
  });
}

// d(lane a, lane b, lane dy) for one of the two inputs.
template <class C, Lane<C> (*d)(Lane<C>, Lane<C>, Lane<C>)>
void binary_backward_block(const C* const* in, C* const* out, int64_t n, const void*) {
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> a = load_lane(in[0] + i, count, C(1)), b = load_lane(in[1] + i, count, C(1));
    store_lane(d(a, b, load_lane(in[2] + i, count)), out[0] + i, count);
  });
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
