// The derivatives of the binary ops, one input at a time.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

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
    switch (op) {
#define TESSERA_CASE(Name, ...)                                                     \
  case BinaryOp::k##Name:                                                           \
    if (da.data != nullptr) map<C, 3>(BackwardA<functors::Name>{}, {da, a, b, dy}); \
    if (db.data != nullptr) map<C, 3>(BackwardB<functors::Name>{}, {db, a, b, dy}); \
    return;
      TESSERA_BINARY_OPS(TESSERA_CASE)
#undef TESSERA_CASE
    }
  });
}

}  // namespace tessera::cuda
