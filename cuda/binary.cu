// The binary ops and comparisons of the table, and where.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

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
    switch (op) {
#define TESSERA_CASE(Name, ...) \
  case BinaryOp::k##Name:       \
    return map<C, 2>(Forward<functors::Name>{}, {y, a, b});
      TESSERA_BINARY_OPS(TESSERA_CASE)
#undef TESSERA_CASE
    }
  });
}

void compare(CompareOp op, const View& a, const View& b, const View& y) {
  visit_compute(a.dtype, [&](auto tag) {
    using C = decltype(tag);
    switch (op) {
#define TESSERA_CASE(Name, ...) \
  case CompareOp::k##Name:      \
    return map<C, 2>(Forward<functors::Name>{}, {y, a, b});
      TESSERA_COMPARE_OPS(TESSERA_CASE)
#undef TESSERA_CASE
    }
  });
}

void where(const View& condition, const View& a, const View& b, const View& y) {
  visit_compute(y.dtype, [&](auto tag) { map<decltype(tag), 3>(Where{}, {y, condition, a, b}); });
}

}  // namespace tessera::cuda
