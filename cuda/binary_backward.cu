// The derivatives of the binary ops, one input at a time.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "engine/visit_op.h"

namespace tessera::cuda {
namespace {

template <class F>
struct BackwardA {
  template <class C>
  __device__ C operator()(C a, C b, C dy) const {
    return F::da(Lane<C>::of(a), Lane<C>::of(b), Lane<C>::of(dy)).value;
  }
};
template <class F>
struct BackwardB {
  template <class C>
  __device__ C operator()(C a, C b, C dy) const {
    return F::db(Lane<C>::of(a), Lane<C>::of(b), Lane<C>::of(dy)).value;
  }
};

}  // namespace

void binary_backward(BinaryOp op, const View& a, const View& b, const View& dy, const View& da,
                     const View& db) {
  visit_floating(dy.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) {
      using F = decltype(f);
      if (da.data != nullptr) map<C, 3>(BackwardA<F>{}, {da, a, b, dy});
      if (db.data != nullptr) map<C, 3>(BackwardB<F>{}, {db, a, b, dy});
    });
  });
}

}  // namespace tessera::cuda
