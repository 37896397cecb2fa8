// Lane: one number under the interface that the op table's functors are written for; the CPU's
// counterpart (cpu/lanes.h) is a small array.
// Rule: the math functions are the C library's names, which nvcc takes as its own; no fast
// variants.
#pragma once

#include "cuda/launch.h"

namespace tessera::cuda {

template <class T>
struct Lane {
  T value;

  Lane() = default;
  __host__ __device__ explicit Lane(double x) : value(static_cast<T>(x)) {}
  static __host__ __device__ Lane of(T x) {
    Lane lane;
    lane.value = x;
    return lane;
  }

  friend __host__ __device__ Lane operator+(Lane a, Lane b) { return of(a.value + b.value); }
  friend __host__ __device__ Lane operator-(Lane a, Lane b) { return of(a.value - b.value); }
  friend __host__ __device__ Lane operator*(Lane a, Lane b) { return of(a.value * b.value); }
  friend __host__ __device__ Lane operator/(Lane a, Lane b) { return of(a.value / b.value); }
  friend __host__ __device__ Lane operator-(Lane a) { return of(-a.value); }

  friend __host__ __device__ bool operator<(Lane a, Lane b) { return a.value < b.value; }
  friend __host__ __device__ bool operator>(Lane a, Lane b) { return a.value > b.value; }
  friend __host__ __device__ bool operator<=(Lane a, Lane b) { return a.value <= b.value; }
  friend __host__ __device__ bool operator>=(Lane a, Lane b) { return a.value >= b.value; }
  friend __host__ __device__ bool operator==(Lane a, Lane b) { return a.value == b.value; }
  friend __host__ __device__ bool operator!=(Lane a, Lane b) { return a.value != b.value; }
  friend __host__ __device__ Lane select(bool mask, Lane a, Lane b) { return mask ? a : b; }

  static constexpr bool kFloat = sizeof(T) == 4;
  friend __host__ __device__ Lane exp(Lane a) {
    return of(kFloat ? expf(a.value) : ::exp(a.value));
  }
  friend __host__ __device__ Lane log(Lane a) {
    return of(kFloat ? logf(a.value) : ::log(a.value));
  }
  friend __host__ __device__ Lane sqrt(Lane a) {
    return of(kFloat ? sqrtf(a.value) : ::sqrt(a.value));
  }
  friend __host__ __device__ Lane abs(Lane a) {
    return of(kFloat ? fabsf(a.value) : fabs(a.value));
  }
  friend __host__ __device__ Lane tanh(Lane a) {
    return of(kFloat ? tanhf(a.value) : ::tanh(a.value));
  }
  friend __host__ __device__ Lane sin(Lane a) {
    return of(kFloat ? sinf(a.value) : ::sin(a.value));
  }
  friend __host__ __device__ Lane cos(Lane a) {
    return of(kFloat ? cosf(a.value) : ::cos(a.value));
  }
  friend __host__ __device__ Lane erf(Lane a) {
    return of(kFloat ? erff(a.value) : ::erf(a.value));
  }
  friend __host__ __device__ Lane pow(Lane a, Lane b) {
    return of(kFloat ? powf(a.value, b.value) : ::pow(a.value, b.value));
  }
};

// The same for plain numbers in kernels that are no functors.
template <class C>
__device__ C exp_of(C x) {
  return exp(Lane<C>::of(x)).value;
}
template <class C>
__device__ C log_of(C x) {
  return log(Lane<C>::of(x)).value;
}
template <class C>
__device__ C sqrt_of(C x) {
  return sqrt(Lane<C>::of(x)).value;
}
// a b + c, rounded once.
__device__ inline float fma_of(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double fma_of(double a, double b, double c) { return fma(a, b, c); }

}  // namespace tessera::cuda
