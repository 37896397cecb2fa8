// Random numbers and dropout: element e is a function of (key, e) and of nothing else.
#include <algorithm>
#include <cmath>

#include "cpu/blocks.h"
#include "cpu/kernels.h"

namespace tessera::cpu {
namespace {

constexpr double kTwoPi = 6.283185307179586476925;

}  // namespace

void uniform(RandomKey key, const View& y) {
  visit_floating(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    T* p = y.as<T>();
    const int64_t n = y.numel();
    parallel_ranges(ceil_div(n, 4), kTaskElements / 4, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const PhiloxBlock bits = key.block(static_cast<uint64_t>(b));
        for (int64_t i = 0; i < 4 && b * 4 + i < n; ++i) {
          p[b * 4 + i] = static_cast<T>(uniform_from_bits(bits[i]));
        }
      }
    });
  });
}

// Box-Muller in f64 on the block's four numbers: two pairs. u is moved off zero by half a step.
void normal(RandomKey key, const View& y) {
  visit_floating(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    T* p = y.as<T>();
    const int64_t n = y.numel();
    parallel_ranges(ceil_div(n, 4), kTaskElements / 16, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const PhiloxBlock bits = key.block(static_cast<uint64_t>(b));
        for (int64_t i = 0; i < 4 && b * 4 + i < n; ++i) {
          const double u = (bits[i / 2 * 2] + 0.5) * 0x1p-32;
          const double angle = kTwoPi * (bits[i / 2 * 2 + 1] * 0x1p-32);
          const double radius = std::sqrt(-2.0 * std::log(u));
          p[b * 4 + i] = static_cast<T>(radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)));
        }
      }
    });
  });
}

void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y) {
  const float threshold = static_cast<float>(p);
  visit_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = typename ComputeOf<T>::type;
    if constexpr (!std::is_integral_v<T>) {
      const C keep = static_cast<C>(1.0 / (1.0 - p));
      const T* in = x.as<const T>();
      T* out = y.as<T>();
      parallel_ranges(x.numel(), kTaskElements, [&](int64_t begin, int64_t end) {
        // One draw a group: one for each of its numbers took a quarter of a step with drop path.
        for (int64_t i = begin; i < end;) {
          const int64_t which = i / group, last = std::min(end, (which + 1) * group);
          const bool survives = key.uniform(static_cast<uint64_t>(which)) >= threshold;
          for (; i < last; ++i) {
            out[i] = survives ? convert<T>(convert<C>(in[i]) * keep) : convert<T>(C(0));
          }
        }
      });
    }
  });
}

}  // namespace tessera::cpu
