// Bounds and comparisons.
#include "tests/ops/compare.h"

#include <cmath>
#include <cstring>

namespace tessera::ops_test {

double largest(const Array& a) {
  double m = 1;
  for (double v : a.values) {
    if (std::isfinite(v)) m = std::fmax(m, std::fabs(v));
  }
  return m;
}

double bound(DType dtype, int roundings, double want, double scale) {
  if (dtype == DType::kF64) return 1e-12 * scale;
  if (dtype == DType::kF32) return 2e-5 * scale;
  const double half_place = dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;
  return half_place * (roundings == 1 ? std::fabs(want) : roundings * scale) + 2e-5 * scale;
}

std::string first_difference(const Array& have, const Array& want,
                             const std::function<double(double)>& bound_of) {
  if (!(have.shape == want.shape)) return fmt::format("shape {} for {}", have.shape, want.shape);
  for (size_t k = 0; k < want.values.size(); ++k) {
    const double h = have.values[k], w = want.values[k];
    const bool same = h == w || (std::isnan(h) && std::isnan(w));
    if (!same && !(std::fabs(h - w) <= bound_of(w))) {
      return fmt::format("element {} of {} is {} for {}", k, want.shape, h, w);
    }
  }
  return "";
}

bool same_bits(const Array& a, const Array& b) {
  if (!(a.shape == b.shape)) return false;
  return a.values.empty() ||
         std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(double)) == 0;
}

}  // namespace tessera::ops_test
