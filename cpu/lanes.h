// Lanes: the small fixed arrays in which every CPU kernel computes.
// Rule: each element, in whatever layout or at whatever end of a row, goes through this same code:
// tails and strided inputs are gathered into a padded lane first, never done by scalar libm, whose
// bits differ. f16 and bf16 are converted to float on the way in and rounded on the way out.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <unsupported/Eigen/SpecialFunctions>

#include "engine/dtype.h"

namespace tessera::cpu {

// 16 floats, 8 doubles or 8 integers: two AVX2 registers (four for integers), enough to hide the
// latency of a chain of four dependent operations.
template <class T>
inline constexpr int kLane = sizeof(T) == 4 ? 16 : 8;

template <class T>
struct Lane {
  using Array = Eigen::Array<T, kLane<T>, 1>;
  Array v;

  Lane() = default;
  Lane(const Array& a) : v(a) {}
  explicit Lane(double x) : v(Array::Constant(static_cast<T>(x))) {}

  static Lane load(const T* p) { return Lane(Array(Eigen::Map<const Array>(p))); }
  void store(T* p) const { Eigen::Map<Array>{p} = v; }
  // The first `count` elements, the rest padded with `fill`.
  static Lane load_part(const T* p, int64_t count, T fill = T(0)) {
    Lane lane;
    lane.v.setConstant(fill);
    std::memcpy(lane.v.data(), p, static_cast<size_t>(count) * sizeof(T));
    return lane;
  }
  void store_part(T* p, int64_t count) const {
    std::memcpy(p, v.data(), static_cast<size_t>(count) * sizeof(T));
  }

  friend Lane operator+(Lane a, Lane b) { return Array(a.v + b.v); }
  friend Lane operator-(Lane a, Lane b) { return Array(a.v - b.v); }
  friend Lane operator*(Lane a, Lane b) { return Array(a.v * b.v); }
  friend Lane operator/(Lane a, Lane b) { return Array(a.v / b.v); }
  friend Lane operator-(Lane a) { return Array(-a.v); }

  using Mask = Eigen::Array<bool, kLane<T>, 1>;
  friend auto operator<(Lane a, Lane b) { return Mask(a.v < b.v); }
  friend auto operator>(Lane a, Lane b) { return Mask(a.v > b.v); }
  friend auto operator<=(Lane a, Lane b) { return Mask(a.v <= b.v); }
  friend auto operator>=(Lane a, Lane b) { return Mask(a.v >= b.v); }
  friend auto operator==(Lane a, Lane b) { return Mask(a.v == b.v); }
  friend auto operator!=(Lane a, Lane b) { return Mask(a.v != b.v); }
  friend Lane select(const Mask& m, Lane a, Lane b) { return Array(m.select(a.v, b.v)); }

  // The larger; where one is NaN, either: for a kernel that finds NaN elsewhere.
  friend Lane max(Lane a, Lane b) { return Array(a.v.max(b.v)); }

  friend Lane abs(Lane a) { return Array(a.v.abs()); }
  friend Lane exp(Lane a) { return Array(a.v.exp()); }
  friend Lane log(Lane a) { return Array(a.v.log()); }
  friend Lane sqrt(Lane a) { return Array(a.v.sqrt()); }
  friend Lane tanh(Lane a) { return Array(a.v.tanh()); }
  friend Lane sin(Lane a) { return Array(a.v.sin()); }
  friend Lane cos(Lane a) { return Array(a.v.cos()); }
  friend Lane erf(Lane a) { return Array(a.v.erf()); }
  friend Lane pow(Lane a, Lane b) { return Array(Eigen::pow(a.v, b.v)); }
};

// The type a dtype is computed in.
template <class T>
struct ComputeOf {
  using type = int64_t;
};
template <>
struct ComputeOf<float> {
  using type = float;
};
template <>
struct ComputeOf<Half> {
  using type = float;
};
template <>
struct ComputeOf<BFloat16> {
  using type = float;
};
template <>
struct ComputeOf<double> {
  using type = double;
};

// Calls visit(C{}) with the compute type of dtype.
template <class Visitor>
decltype(auto) visit_compute(DType dtype, Visitor&& visit) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return visit(float{});
    case DType::kF64:
      return visit(double{});
    default:
      return visit(int64_t{});
  }
}
// The same for kernels that exist for floating dtypes only.
template <class Visitor>
decltype(auto) visit_floating(DType dtype, Visitor&& visit) {
  if (dtype == DType::kF64) return visit(double{});
  return visit(float{});
}

// n elements of any dtype and stride into a contiguous buffer of C, and back.
template <class C>
void gather_elements(const void* src, DType dtype, int64_t stride, int64_t n, C* out) {
  visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* p = static_cast<const T*>(src);
    if (stride == 1) {
      for (int64_t i = 0; i < n; ++i) out[i] = convert<C>(p[i]);
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = convert<C>(p[i * stride]);
    }
  });
}
template <class C>
void scatter_elements(const C* src, int64_t n, void* dst, DType dtype, int64_t stride) {
  visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    T* p = static_cast<T*>(dst);
    for (int64_t i = 0; i < n; ++i) p[i * stride] = convert<T>(src[i]);
  });
}

// A row of n elements as C: the data itself where it already is that, else a copy in `buffer`.
template <class C>
const C* load_row(const void* src, DType dtype, int64_t n, C* buffer) {
  if (dtype == DTypeOf<C>::value) return static_cast<const C*>(src);
  gather_elements(src, dtype, 1, n, buffer);
  return buffer;
}

// Sums a lane in one fixed order.
template <class T>
T horizontal_sum(const Lane<T>& lane) {
  T parts[kLane<T>];
  lane.store(parts);
  for (int width = kLane<T> / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
  }
  return parts[0];
}
template <class T>
T horizontal_max(const Lane<T>& lane) {
  T parts[kLane<T>];
  lane.store(parts);
  T best = parts[0];
  for (int i = 1; i < kLane<T>; ++i) {
    if (parts[i] > best || parts[i] != parts[i]) best = parts[i];
  }
  return best;
}

}  // namespace tessera::cpu
