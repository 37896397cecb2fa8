// Names, sizes and the binary16 conversions.
#include "engine/dtype.h"

#include <immintrin.h>

namespace tessera {

// F16C is part of x86-64-v3, the least the program is built for.
Half::Half(float value) : bits(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)) {}
Half::operator float() const { return _cvtsh_ss(bits); }

size_t size_of(DType dtype) {
  return visit_dtype(dtype, [](auto t) { return sizeof(t); });
}

const char* name_of(DType dtype) {
  static constexpr const char* kNames[kNumDTypes] = {"f32", "f64", "f16", "bf16",
                                                     "i32", "i64", "u8",  "bool"};
  return kNames[static_cast<int>(dtype)];
}

bool is_floating(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF64 || dtype == DType::kF16 ||
         dtype == DType::kBF16;
}

bool parse_dtype(std::string_view name, DType* out) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (name == name_of(static_cast<DType>(i))) {
      *out = static_cast<DType>(i);
      return true;
    }
  }
  return false;
}

}  // namespace tessera
