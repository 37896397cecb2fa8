// Elements of any dtype as the type that a kernel computes in, and back.
// Rule: f16 and bf16 widen to float and are rounded once on the way out; the C library's rules for
// the rest (engine/dtype.h's convert).
#pragma once

#include <type_traits>

#include "cuda/launch.h"
#include "engine/dtype.h"

namespace tessera::cuda {

__host__ __device__ inline float widen(Half x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#else
  return static_cast<float>(x);
#endif
}

__host__ __device__ inline Half narrow(float x) {
#ifdef __CUDA_ARCH__
  Half y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
#else
  return Half(x);
#endif
}

// One element from one type to another; the same values as tessera::convert.
template <class To, class From>
__host__ __device__ To convert_to(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, Half>) {
    return convert_to<To>(widen(x));
  } else if constexpr (std::is_same_v<From, BFloat16>) {
    return convert_to<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, Half>) {
    return narrow(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    return BFloat16(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else {
    return static_cast<To>(x);
  }
}

// Element i of an array whose dtype is known at run time: one branch, the same for the whole warp.
template <class C>
__device__ C load_element(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF32:
      return convert_to<C>(static_cast<const float*>(data)[i]);
    case DType::kF64:
      return convert_to<C>(static_cast<const double*>(data)[i]);
    case DType::kF16:
      return convert_to<C>(static_cast<const Half*>(data)[i]);
    case DType::kBF16:
      return convert_to<C>(static_cast<const BFloat16*>(data)[i]);
    case DType::kI32:
      return convert_to<C>(static_cast<const int32_t*>(data)[i]);
    case DType::kI64:
      return convert_to<C>(static_cast<const int64_t*>(data)[i]);
    case DType::kU8:
      return convert_to<C>(static_cast<const uint8_t*>(data)[i]);
    case DType::kBool:
      break;
  }
  return convert_to<C>(static_cast<const bool*>(data)[i]);
}

template <class C>
__device__ void store_element(void* data, DType dtype, int64_t i, C value) {
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(data)[i] = convert_to<float>(value);
      return;
    case DType::kF64:
      static_cast<double*>(data)[i] = convert_to<double>(value);
      return;
    case DType::kF16:
      static_cast<Half*>(data)[i] = convert_to<Half>(value);
      return;
    case DType::kBF16:
      static_cast<BFloat16*>(data)[i] = convert_to<BFloat16>(value);
      return;
    case DType::kI32:
      static_cast<int32_t*>(data)[i] = convert_to<int32_t>(value);
      return;
    case DType::kI64:
      static_cast<int64_t*>(data)[i] = convert_to<int64_t>(value);
      return;
    case DType::kU8:
      static_cast<uint8_t*>(data)[i] = convert_to<uint8_t>(value);
      return;
    case DType::kBool:
      static_cast<bool*>(data)[i] = convert_to<bool>(value);
      return;
  }
}

// kCount neighbours that are read or written in pieces of 16 bytes.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Pack {
  T at[kCount];
};

inline bool is_aligned(const void* data, size_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

}  // namespace tessera::cuda
