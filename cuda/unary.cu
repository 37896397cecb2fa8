// The unary ops of the table.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

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
    switch (op) {
#define TESSERA_CASE(Name, ...) \
  case UnaryOp::k##Name:        \
    return map<C, 1>(Forward<functors::Name>{args}, {y, x});
      TESSERA_UNARY_OPS(TESSERA_CASE)
      TESSERA_UNARY_OPS_1(TESSERA_CASE)
      TESSERA_UNARY_OPS_2(TESSERA_CASE)
#undef TESSERA_CASE
    }
  });
}

}  // namespace tessera::cuda
