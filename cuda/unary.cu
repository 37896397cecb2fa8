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

// Times a number that lies on the device.
template <class C>
struct ScaleBy {
  const void* by;
  DType dtype;
  C factor;
  __device__ C operator()(C x) const { return x * (load_element<C>(by, dtype, 0) * factor); }
};

}  // namespace

void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y) {
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) { map<C, 1>(Forward<decltype(f)>{args}, {y, x}); });
  });
}

void scale_by(const View& by, double factor, const View& x) {
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    map<C, 1>(ScaleBy<C>{by.data, by.dtype, static_cast<C>(factor)}, {x, x});
  });
}

}  // namespace tessera::cuda
