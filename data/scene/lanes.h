// Eight samples at a time: vectors of eight floats, and points or colours made of them.
// Rule: the compiler's own vector type, so arithmetic, comparisons and ?: are the usual operators;
// what it lacks is here. A lane's bits do not depend on its neighbours.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "data/scene/math.h"

namespace tessera::scene {

inline constexpr int kLanes = 8;
typedef float F8 __attribute__((vector_size(32)));
typedef int32_t I8 __attribute__((vector_size(32)));  // of a comparison: -1 is true
typedef uint32_t U8 __attribute__((vector_size(32)));

inline F8 all(float x) { return F8{} + x; }
inline F8 min(F8 a, F8 b) { return a < b ? a : b; }
inline F8 max(F8 a, F8 b) { return a > b ? a : b; }
inline F8 min(F8 a, float b) { return min(a, all(b)); }
inline F8 max(F8 a, float b) { return max(a, all(b)); }
inline F8 abs(F8 a) { return max(a, -a); }
inline F8 sqrt(F8 a) { return _mm256_sqrt_ps(a); }
inline F8 floor(F8 a) { return _mm256_floor_ps(a); }
inline F8 fraction(F8 a) { return a - floor(a); }
inline F8 clamp01(F8 a) { return min(max(a, 0.0f), 1.0f); }
inline F8 mix(F8 a, F8 b, F8 t) { return a + (b - a) * t; }
inline F8 smoothstep(F8 low, F8 high, F8 x) {
  const F8 t = clamp01((x - low) / (high - low));
  return t * t * (3.0f - 2.0f * t);
}
inline bool any(I8 mask) { return _mm256_movemask_ps(_mm256_castsi256_ps((__m256i)mask)) != 0; }

struct P8 {
  F8 x, y, z;
};

inline P8 all(Vec3 a) { return {all(a.x), all(a.y), all(a.z)}; }
inline P8 operator+(P8 a, P8 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline P8 operator-(P8 a, P8 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline P8 operator*(P8 a, P8 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
inline P8 operator*(P8 a, F8 s) { return {a.x * s, a.y * s, a.z * s}; }
inline F8 dot(P8 a, P8 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline F8 length(F8 x, F8 y) { return sqrt(x * x + y * y); }
inline F8 length(P8 a) { return sqrt(dot(a, a)); }
inline P8 normalized(P8 a) { return a * (1.0f / length(a)); }
inline P8 mix(P8 a, P8 b, F8 t) { return a + (b - a) * t; }
inline P8 select(I8 mask, P8 a, P8 b) {
  return {mask ? a.x : b.x, mask ? a.y : b.y, mask ? a.z : b.z};
}
// Turned about the vertical axis by the angle with this cosine and sine.
inline P8 turned(P8 p, float cosine, float sine) {
  return {cosine * p.x + sine * p.z, p.y, cosine * p.z - sine * p.x};
}

}  // namespace tessera::scene
