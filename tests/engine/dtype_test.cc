// Number formats and Philox: every half float, every rounding, published vectors.
#include "engine/dtype.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "engine/philox.h"
#include "engine/raw.h"

namespace tessera {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// A 16-bit float of `exponent` and `mantissa` bits by the definition of the format.
double value_of(uint16_t bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7fff) >> mantissa_bits;
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

// All 65,536 patterns, and both neighbours of every midpoint between two of them.
template <class T>
void check_format(int exponent_bits) {
  int wrong = 0;
  for (uint32_t u = 0; u < 65536; ++u) {
    T x;
    x.bits = static_cast<uint16_t>(u);
    const float wide = static_cast<float>(x);
    const double want = value_of(x.bits, exponent_bits);
    if (std::isnan(want)) {
      wrong += !std::isnan(wide) || !std::isnan(static_cast<float>(T(wide)));
    } else {
      wrong += wide != want || T(wide).bits != x.bits;
    }
  }
  CHECK(wrong == 0);

  const uint16_t infinity =
      static_cast<uint16_t>(((1u << exponent_bits) - 1) << (15 - exponent_bits));
  for (uint16_t low = 0; low < infinity; ++low) {
    T a, b;
    a.bits = low;
    b.bits = static_cast<uint16_t>(low + 1);
    // Beyond the largest number the grid goes on: what would be the next number is infinity.
    const double top = static_cast<double>(static_cast<float>(a));
    const double step = top - value_of(static_cast<uint16_t>(low - (low > 0)), exponent_bits);
    const double next =
        b.bits == infinity ? top + step : static_cast<double>(static_cast<float>(b));
    const double exact = (top + next) / 2;
    const float middle = static_cast<float>(exact);
    if (middle != exact) continue;  // bf16's subnormals: the middle is no f32
    const uint16_t even = (low & 1) == 0 ? a.bits : b.bits;
    wrong += T(middle).bits != even;
    wrong += T(std::nextafter(middle, 0.0f)).bits != a.bits;
    wrong += T(std::nextafter(middle, kInf)).bits != b.bits;
    wrong += T(-middle).bits != (even | 0x8000);
  }
  CHECK(wrong == 0);
  CHECK(T(kInf).bits == infinity);
  CHECK(T(-kInf).bits == (infinity | 0x8000));
  CHECK(std::isnan(static_cast<float>(T(std::bit_cast<float>(0x7f800001u)))));
}

TEST_CASE("binary16 to the bit") {
  check_format<Half>(5);
  CHECK(Half(65504.0f).bits == 0x7bff);
  CHECK(Half(65519.996f).bits == 0x7bff);
  CHECK(Half(65520.0f).bits == 0x7c00);
  CHECK(Half(0x1p-25f).bits == 0);  // halfway to the least, to even
  CHECK(Half(0x1.8p-25f).bits == 1);
}

TEST_CASE("bfloat16 to the bit") {
  check_format<BFloat16>(8);
  CHECK(BFloat16(3.3961776e38f).bits == 0x7f80);  // halfway past the largest
  CHECK(BFloat16(1.0f + 0x1p-8f).bits == 0x3f80);
  CHECK(BFloat16(1.0f + 0x3p-8f).bits == 0x3f82);
}

TEST_CASE("names and sizes of dtypes") {
  const size_t sizes[kNumDTypes] = {4, 8, 2, 2, 4, 8, 1, 1};
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    CHECK(size_of(dtype) == sizes[i]);
    DType parsed = DType::kBool;
    CHECK(parse_dtype(name_of(dtype), &parsed));
    CHECK(parsed == dtype);
    CHECK(is_floating(dtype) == (i < 4));
  }
  DType unchanged = DType::kU8;
  CHECK_FALSE(parse_dtype("f8", &unchanged));
  CHECK(unchanged == DType::kU8);
}

TEST_CASE("every dtype converts to every other") {
  const std::vector<double> values = {0, 1, 2, 100, 127};  // exact everywhere
  for (int from = 0; from < kNumDTypes; ++from) {
    for (int to = 0; to < kNumDTypes; ++to) {
      const Tensor source = raw::to(Tensor::from(values, {5}), static_cast<DType>(from));
      const Tensor there = raw::to(source, static_cast<DType>(to));
      CHECK(there.dtype() == static_cast<DType>(to));
      const bool flag = there.dtype() == DType::kBool || source.dtype() == DType::kBool;
      const std::vector<double> back = raw::to(there, DType::kF64).to_vector<double>();
      for (size_t i = 0; i < values.size(); ++i) {
        CHECK(back[i] == (flag ? (values[i] != 0 ? 1 : 0) : values[i]));
      }
    }
  }
  const Tensor numbers = Tensor::from(std::vector<float>{-2.9f, -0.5f, 0.5f, 2.9f, NAN}, {5});
  CHECK(raw::to(raw::slice(numbers, 0, 0, 4), DType::kI32).to_vector<int32_t>() ==
        std::vector<int32_t>{-2, 0, 0, 2});
  CHECK(raw::to(raw::to(numbers, DType::kBool), DType::kI64).to_vector<int64_t>() ==
        std::vector<int64_t>{1, 1, 1, 1, 1});
}

TEST_CASE("wide integers survive a conversion") {
  const std::vector<int64_t> values = {(int64_t{1} << 53) + 1, -(int64_t{1} << 60), -1};
  const Tensor t = Tensor::from(values, {3});
  CHECK(raw::clone(raw::flip(raw::flip(t, 0), 0)).to_vector<int64_t>() == values);
  CHECK(raw::to(raw::slice(t, 0, 2, 3), DType::kI32).to_vector<int32_t>() ==
        std::vector<int32_t>{-1});
}

// Random123, kat_vectors: philox4x32, 10 rounds.
TEST_CASE("Philox gives the published numbers") {
  CHECK(philox4x32({0, 0, 0, 0}, 0) == PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffffffffffff) ==
        PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
        PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random tensors are a function of key and element") {
  const RandomKey key{42, 3, 1025};
  const Tensor all = raw::uniform({7, 333}, key);
  const std::vector<float> values = all.to_vector<float>();
  int wrong = 0;
  for (size_t e = 0; e < values.size(); ++e) wrong += values[e] != key.uniform(e);
  CHECK(wrong == 0);
  // A shorter draw is a prefix; another site, iteration or seed is something else.
  const std::vector<float> prefix = raw::uniform({10}, key).to_vector<float>();
  CHECK(std::equal(prefix.begin(), prefix.end(), values.begin()));
  for (const RandomKey& other : {RandomKey{43, 3, 1025}, {42, 4, 1025}, {42, 3, 1026}}) {
    CHECK(raw::uniform({10}, other).to_vector<float>() != prefix);
  }
  for (const DType dtype : {DType::kF64, DType::kF16, DType::kBF16}) {
    const Tensor same = raw::uniform({7, 333}, key, 0, 1, dtype);
    CHECK(raw::to(same, DType::kF64).to_vector<double>() ==
          raw::to(raw::to(all, dtype), DType::kF64).to_vector<double>());
  }
}

TEST_CASE("uniform and normal numbers are distributed as they should be") {
  constexpr int64_t n = 200000;
  const RandomKey key{7, 0, 1024};
  std::vector<int> bins(100);
  for (float u : raw::uniform({n}, key).to_vector<float>()) {
    REQUIRE((u >= 0 && u < 1));
    ++bins[static_cast<size_t>(u * 100)];
  }
  double chi = 0;  // 99 degrees of freedom: above 150 one time in a thousand
  for (int b : bins) chi += (b - n / 100.0) * (b - n / 100.0) / (n / 100.0);
  CHECK(chi < 150);

  double moments[5] = {};
  int64_t tail = 0;
  for (float x : raw::normal({n}, key).to_vector<float>()) {
    REQUIRE(std::isfinite(x));
    for (int p = 1; p <= 4; ++p) moments[p] += std::pow(x, p) / n;
    tail += std::fabs(x) > 2;
  }
  // Five standard errors of each.
  CHECK(std::fabs(moments[1]) < 5 * std::sqrt(1.0 / n));
  CHECK(std::fabs(moments[2] - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::fabs(moments[3]) < 5 * std::sqrt(15.0 / n));
  CHECK(std::fabs(moments[4] - 3) < 5 * std::sqrt(96.0 / n));
  CHECK(std::fabs(static_cast<double>(tail) / n - 0.0455) < 5 * std::sqrt(0.0455 / n));

  const std::vector<float> shifted = raw::normal({4}, key, 10, 0.5).to_vector<float>();
  const std::vector<float> plain = raw::normal({4}, key).to_vector<float>();
  for (size_t i = 0; i < 4; ++i) CHECK(shifted[i] == Approx(10 + 0.5 * plain[i]));
}

TEST_CASE("the host's stream reads the same numbers one after another") {
  const RandomKey key{9, 1, 4};
  PhiloxStream stream(key);
  for (uint64_t i = 0; i < 9; ++i) CHECK(stream.bits() == key.bits(i));
  PhiloxStream again(key);
  std::vector<int> seen(7);
  for (int i = 0; i < 7000; ++i) ++seen[static_cast<size_t>(again.below(7))];
  for (int count : seen) CHECK((count > 850 && count < 1150));
}

}  // namespace
}  // namespace tessera
