// Random numbers: element e is a function of the key and of e alone.
#include "engine/raw_support.h"

namespace tessera::raw {

Tensor uniform(const Shape& shape, RandomKey key, double low, double high, DType dtype,
               Device device) {
  if (dtype == DType::kF16 || dtype == DType::kBF16) {  // drawn in f32, then rounded
    return to(uniform(shape, key, low, high, DType::kF32, device), dtype);
  }
  Tensor y = Tensor::empty(shape, dtype, device);
  check_floating("uniform", y);
  if (y.numel() == 0) return y;
  y.backend().uniform(key, y.view());
  if (low == 0 && high == 1) return y;
  return unary(UnaryOp::kAddScalar, unary(UnaryOp::kMulScalar, y, {high - low, 0}), {low, 0});
}

Tensor normal(const Shape& shape, RandomKey key, double mean, double deviation, DType dtype,
              Device device) {
  if (dtype == DType::kF16 || dtype == DType::kBF16) {  // drawn in f32, then rounded
    return to(normal(shape, key, mean, deviation, DType::kF32, device), dtype);
  }
  Tensor y = Tensor::empty(shape, dtype, device);
  check_floating("normal", y);
  if (y.numel() == 0) return y;
  y.backend().normal(key, y.view());
  if (mean == 0 && deviation == 1) return y;
  return unary(UnaryOp::kAddScalar, unary(UnaryOp::kMulScalar, y, {deviation, 0}), {mean, 0});
}

}  // namespace tessera::raw
