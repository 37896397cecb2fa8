// Element types: their names, sizes and the two 16-bit floats.
// Rule: half floats are storage only; arithmetic happens in f32 (architecture, "Numbers").
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace tessera {

enum class DType : uint8_t { kF32, kF64, kF16, kBF16, kI32, kI64, kU8, kBool };
inline constexpr int kNumDTypes = 8;

// IEEE binary16, round to nearest even on the way in.
struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float value);
  explicit operator float() const;
};

// The upper half of an f32, round to nearest even on the way in; NaN stays NaN.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  constexpr explicit BFloat16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? static_cast<uint16_t>((u >> 16) | 0x40)
               : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
  }
  constexpr explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

size_t size_of(DType dtype);                          // bytes of one element
const char* name_of(DType dtype);                     // "f32", "bf16", "bool", ...
bool is_floating(DType dtype);                        // f32, f64, f16, bf16
bool parse_dtype(std::string_view name, DType* out);  // false when there is no such name

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<Half> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::kBool;
};

// Calls visit(T{}) with the C++ type behind dtype.
template <class Visitor>
decltype(auto) visit_dtype(DType dtype, Visitor&& visit) {
  switch (dtype) {
    case DType::kF32:
      return visit(float{});
    case DType::kF64:
      return visit(double{});
    case DType::kF16:
      return visit(Half{});
    case DType::kBF16:
      return visit(BFloat16{});
    case DType::kI32:
      return visit(int32_t{});
    case DType::kI64:
      return visit(int64_t{});
    case DType::kU8:
      return visit(uint8_t{});
    case DType::kBool:
      break;
  }
  return visit(bool{});
}

// The type that elements of T are computed in.
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

// Calls visit(C{}) with the type that dtype is computed in.
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

// One element from one type to another, through float where a half is involved.
template <class To, class From>
inline To convert(From x) {
  constexpr bool from_half = std::is_same_v<From, Half> || std::is_same_v<From, BFloat16>;
  constexpr bool to_half = std::is_same_v<To, Half> || std::is_same_v<To, BFloat16>;
  if constexpr (std::is_same_v<To, From>)
    return x;
  else if constexpr (from_half)
    return convert<To>(static_cast<float>(x));
  else if constexpr (to_half)
    return To(static_cast<float>(x));
  else if constexpr (std::is_same_v<To, bool>)
    return x != From(0);
  else
    return static_cast<To>(x);
}

}  // namespace tessera
