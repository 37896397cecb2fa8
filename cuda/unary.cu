// The unary ops of the table.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "engine/visit_op.h"

namespace tessera::cuda {
namespace {

template <class F>
struct Forward {
  ScalarArgs args;
  template <class C>
  __device__ C operator()(C x) const {
    return F::f(Lane<C>::of(x), args).value;
  }
};

}  // namespace

void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y) {
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) { map<C, 1>(Forward<decltype(f)>{args}, {y, x}); });
  });
}

}  // namespace tessera::cuda
