// Sixteen samples at a time: numbers in two registers of eight, and points or colours made of them.
// Rule: the usual operators work lane by lane, and a plain number counts for every lane; a lane's
// bits do not depend on its neighbours. Two registers, since tracing a ray is one long chain of
// operations that wait for one another: while one half waits, the other is worked on.
#pragma once

#include <immintrin.h>

#include <concepts>
#include <cstdint>
#include <cstring>

#include "data/scene/math.h"

namespace tessera::scene {

inline constexpr int kLanes = 16;

template <class T>
struct Lanes {
  typedef T Half __attribute__((vector_size(32)));
  Half low, high;

  Lanes() : low{}, high{} {}
  Lanes(std::same_as<T> auto x) : low{x, x, x, x, x, x, x, x}, high(low) {}
  Lanes(Half low, Half high) : low(low), high(high) {}
  static Lanes load(const T* from) {  // kLanes numbers
    Lanes a;
    std::memcpy(&a.low, from, sizeof(Half));
    std::memcpy(&a.high, from + kLanes / 2, sizeof(Half));
    return a;
  }
  void store(T* to) const {
    std::memcpy(to, &low, sizeof(Half));
    std::memcpy(to + kLanes / 2, &high, sizeof(Half));
  }

  friend Lanes operator-(Lanes a) { return {-a.low, -a.high}; }
  friend Lanes operator~(Lanes a) { return {~a.low, ~a.high}; }
  friend Lanes operator+(Lanes a, Lanes b) { return {a.low + b.low, a.high + b.high}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {a.low - b.low, a.high - b.high}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {a.low * b.low, a.high * b.high}; }
  friend Lanes operator/(Lanes a, Lanes b) { return {a.low / b.low, a.high / b.high}; }
  friend Lanes operator&(Lanes a, Lanes b) { return {a.low & b.low, a.high & b.high}; }
  friend Lanes operator^(Lanes a, Lanes b) { return {a.low ^ b.low, a.high ^ b.high}; }
  friend Lanes operator>>(Lanes a, int bits) { return {a.low >> bits, a.high >> bits}; }
  Lanes& operator+=(Lanes b) { return *this = *this + b; }
  Lanes& operator-=(Lanes b) { return *this = *this - b; }
  Lanes& operator*=(Lanes b) { return *this = *this * b; }

  // -1 where it holds, else 0.
  using Mask = Lanes<int32_t>;
  friend Mask operator<(Lanes a, Lanes b) { return {a.low < b.low, a.high < b.high}; }
  friend Mask operator>(Lanes a, Lanes b) { return {a.low > b.low, a.high > b.high}; }
  friend Mask operator>=(Lanes a, Lanes b) { return {a.low >= b.low, a.high >= b.high}; }
  friend Mask operator==(Lanes a, Lanes b) { return {a.low == b.low, a.high == b.high}; }
  friend Mask operator!=(Lanes a, Lanes b) { return {a.low != b.low, a.high != b.high}; }
  friend Lanes select(Mask mask, Lanes a, Lanes b) {
    return {mask.low ? a.low : b.low, mask.high ? a.high : b.high};
  }
};

using Floats = Lanes<float>;
using Ints = Lanes<int32_t>;
using Bits = Lanes<uint32_t>;

inline constexpr int32_t kLaneNumbers[kLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                 8, 9, 10, 11, 12, 13, 14, 15};

inline bool any(Ints mask) {
  return _mm256_movemask_ps(_mm256_castsi256_ps((__m256i)(mask.low | mask.high))) != 0;
}
inline Ints to_ints(Floats a) {  // towards zero
  return {__builtin_convertvector(a.low, Ints::Half), __builtin_convertvector(a.high, Ints::Half)};
}
inline Floats to_floats(Ints a) {
  return {__builtin_convertvector(a.low, Floats::Half),
          __builtin_convertvector(a.high, Floats::Half)};
}
inline Bits to_bits(Ints a) { return {(Bits::Half)a.low, (Bits::Half)a.high}; }
inline Ints to_ints(Bits a) { return {(Ints::Half)a.low, (Ints::Half)a.high}; }

// a where it is less (greater), else b.
inline Floats min(Floats a, Floats b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline Floats max(Floats a, Floats b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline Floats abs(Floats a) {
  const Floats::Half sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline Floats sqrt(Floats a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
inline Floats floor(Floats a) { return {_mm256_floor_ps(a.low), _mm256_floor_ps(a.high)}; }
inline Floats fraction(Floats a) { return a - floor(a); }
inline Floats clamp01(Floats a) { return min(max(a, 0.0f), 1.0f); }
inline Floats mix(Floats a, Floats b, Floats t) { return a + (b - a) * t; }
inline Floats smoothstep(Floats low, Floats high, Floats x) {
  const Floats t = clamp01((x - low) / (high - low));
  return t * t * (3.0f - 2.0f * t);
}

struct Points {
  Floats x, y, z;

  Points(Floats x, Floats y, Floats z) : x(x), y(y), z(z) {}
  Points(Vec3 a = {}) : x(a.x), y(a.y), z(a.z) {}
};

inline Points operator+(const Points& a, const Points& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
inline Points operator-(const Points& a, const Points& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
inline Points operator*(const Points& a, const Points& b) {
  return {a.x * b.x, a.y * b.y, a.z * b.z};
}
inline Points operator*(const Points& a, Floats s) { return {a.x * s, a.y * s, a.z * s}; }
inline Floats dot(const Points& a, const Points& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Floats length(Floats x, Floats y) { return sqrt(x * x + y * y); }
inline Floats length(const Points& a) { return sqrt(dot(a, a)); }
inline Points normalized(const Points& a) { return a * (1.0f / length(a)); }
inline Points mix(const Points& a, const Points& b, Floats t) { return a + (b - a) * t; }
inline Points select(Ints mask, const Points& a, const Points& b) {
  return {select(mask, a.x, b.x), select(mask, a.y, b.y), select(mask, a.z, b.z)};
}
// Turned about the vertical axis by the angle with this cosine and sine.
inline Points turned(const Points& p, float cosine, float sine) {
  return {cosine * p.x + sine * p.z, p.y, cosine * p.z - sine * p.x};
}

}  // namespace tessera::scene
