// The derivatives of the unary ops.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "engine/visit_op.h"

namespace tessera::cuda {
namespace {

template <class F>
struct Backward {
  ScalarArgs args;
  template <class C>
  __device__ C operator()(C saved, C dy) const {
    return F::df(Lane<C>::of(saved), Lane<C>::of(dy), args).value;
  }
};

}  // namespace

void unary_backward(UnaryOp op, ScalarArgs args, const View& saved, const View& dy,
                    const View& dx) {
  visit_floating(dy.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) { map<C, 2>(Backward<decltype(f)>{args}, {dx, saved, dy}); });
  });
}

}  // namespace tessera::cuda
