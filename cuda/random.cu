// Random numbers and dropout: element e is a function of (key, e) and of nothing else.
// Rule: bits and uniforms are the CPU's; normals come from the same formula in f64.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr double kTwoPi = 6.283185307179586476925;

// A thread for each four elements, which share a Philox block.
template <class T>
__global__ void __launch_bounds__(kRowBlock) uniform_elements(RandomKey key, T* y, int64_t n) {
  const int64_t b = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (b * 4 >= n) return;
  const PhiloxBlock bits = key.block(static_cast<uint64_t>(b));
  for (int i = 0; i < 4 && b * 4 + i < n; ++i) {
    y[b * 4 + i] = static_cast<T>(uniform_from_bits(bits[i]));
  }
}

// Box-Muller on the block's four numbers: two pairs. u is moved off zero by half a step.
template <class T>
__global__ void __launch_bounds__(kRowBlock) normal_elements(RandomKey key, T* y, int64_t n) {
  const int64_t b = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (b * 4 >= n) return;
  const PhiloxBlock bits = key.block(static_cast<uint64_t>(b));
  for (int i = 0; i < 4 && b * 4 + i < n; ++i) {
    const double u = (bits[i / 2 * 2] + 0.5) * 0x1p-32;
    const double angle = kTwoPi * (bits[i / 2 * 2 + 1] * 0x1p-32);
    const double radius = sqrt(-2.0 * log(u));
    y[b * 4 + i] = static_cast<T>(radius * (i % 2 == 0 ? cos(angle) : sin(angle)));
  }
}

template <class C>
__global__ void __launch_bounds__(kRowBlock)
    dropout_elements(RandomKey key, float threshold, C keep, int64_t group, Rows x, Rows y) {
  const int64_t first = (int64_t{blockIdx.x} * kRowBlock + threadIdx.x) * kRun;
  if (first >= x.n) return;
  Run<C> v = read_run<C>(x, 0, first);
  int64_t drawn = -1;  // the block in `bits`
  PhiloxBlock bits{};
  for (int i = 0; i < kRun; ++i) {
    const int64_t number = (first + i) / group;
    if (number / 4 != drawn) {
      drawn = number / 4;
      bits = key.block(static_cast<uint64_t>(drawn));
    }
    v.at[i] = uniform_from_bits(bits[number % 4]) >= threshold ? v.at[i] * keep : C(0);
  }
  write_run(y, 0, first, v);
}

}  // namespace

void uniform(RandomKey key, const View& y) {
  const int64_t n = y.numel();
  visit_floating(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(uniform_elements<T>, ceil_div(n, kRowBlock * 4), kRowBlock, 0, stream(), key, y.as<T>(),
           n);
  });
}

void normal(RandomKey key, const View& y) {
  const int64_t n = y.numel();
  visit_floating(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(normal_elements<T>, ceil_div(n, kRowBlock * 4), kRowBlock, 0, stream(), key, y.as<T>(),
           n);
  });
}

void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y) {
  const int64_t n = x.numel();
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch(dropout_elements<C>, ceil_div(n, kRowBlock * kRun), kRowBlock, 0, stream(), key,
           static_cast<float>(p), static_cast<C>(1.0 / (1.0 - p)), group, Rows(x, n), Rows(y, n));
  });
}

}  // namespace tessera::cuda
