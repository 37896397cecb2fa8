// The derivatives of the unary ops.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

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
    switch (op) {
#define TESSERA_CASE(Name, ...) \
  case UnaryOp::k##Name:        \
    return map<C, 2>(Backward<functors::Name>{args}, {dx, saved, dy});
      TESSERA_UNARY_OPS(TESSERA_CASE)
      TESSERA_UNARY_OPS_1(TESSERA_CASE)
      TESSERA_UNARY_OPS_2(TESSERA_CASE)
#undef TESSERA_CASE
    }
  });
}

}  // namespace tessera::cuda
