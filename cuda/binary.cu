// The binary ops and comparisons of the table, and where.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "engine/visit_op.h"

namespace tessera::cuda {
namespace {

template <class F>
struct Forward {
  template <class C>
  __device__ C operator()(C a, C b) const {
    return F::f(Lane<C>::of(a), Lane<C>::of(b)).value;
  }
};

struct Where {
  template <class C>
  __device__ C operator()(C condition, C a, C b) const {
    return condition != C(0) ? a : b;
  }
};

}  // namespace

void binary(BinaryOp op, const View& a, const View& b, const View& y) {
  visit_compute(a.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) { map<C, 2>(Forward<decltype(f)>{}, {y, a, b}); });
  });
}

void compare(CompareOp op, const View& a, const View& b, const View& y) {
  visit_compute(a.dtype, [&](auto tag) {
    using C = decltype(tag);
    visit_op(op, [&](auto f) { map<C, 2>(Forward<decltype(f)>{}, {y, a, b}); });
  });
}

void where(const View& condition, const View& a, const View& b, const View& y) {
  visit_compute(y.dtype, [&](auto tag) { map<decltype(tag), 3>(Where{}, {y, condition, a, b}); });
}

}  // namespace tessera::cuda
