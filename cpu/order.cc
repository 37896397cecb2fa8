// Kernels that care about order along the middle of (outer, n, inner): argmax, cumulative sum,
// stable argsort; and the search for a non-finite value.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/blocks.h"
#include "cpu/kernels.h"

namespace tessera::cpu {
namespace {

// body(x, stride): one line of n elements along the middle dimension, for every (outer, inner).
template <class Body>
void for_each_line(const View& x, Body&& body) {
  const int64_t n = x.shape[1], inner = x.shape[2];
  const int64_t lines = x.shape[0] * inner;
  parallel_ranges(lines, std::max<int64_t>(1, kTaskElements / std::max<int64_t>(n, 1)),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t line = begin; line < end; ++line) {
                      body(line / inner * n * inner + line % inner, line);
                    }
                  });
}

}  // namespace

void argmax(const View& x, const View& y) {
  const int64_t n = x.shape[1], inner = x.shape[2];
  visit_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = typename ComputeOf<T>::type;
    for_each_line(x, [&](int64_t at, int64_t line) {
      const T* p = x.as<const T>() + at;
      int64_t best = 0;
      C value = convert<C>(p[0]);
      for (int64_t i = 1; i < n && value == value; ++i) {  // the first NaN wins
        const C v = convert<C>(p[i * inner]);
        if (v > value || v != v) {
          value = v;
          best = i;
        }
      }
      y.as<int64_t>()[line] = best;
    });
  });
}

void cumsum(const View& x, const View& y) {
  const int64_t n = x.shape[1], inner = x.shape[2];
  visit_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = typename ComputeOf<T>::type;
    for_each_line(x, [&](int64_t at, int64_t) {
      C total = 0;
      for (int64_t i = 0; i < n; ++i) {
        total += convert<C>(x.as<const T>()[at + i * inner]);
        y.as<T>()[at + i * inner] = convert<T>(total);
      }
    });
  });
}

void argsort(const View& x, const View& y) {
  const int64_t n = x.shape[1], inner = x.shape[2];
  visit_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = typename ComputeOf<T>::type;
    for_each_line(x, [&](int64_t at, int64_t) {
      std::vector<C> keys(static_cast<size_t>(n));
      std::vector<int64_t> order(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) keys[i] = convert<C>(x.as<const T>()[at + i * inner]);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        if (keys[b] != keys[b]) return keys[a] == keys[a];  // NaN sorts last
        return keys[a] < keys[b];
      });
      for (int64_t i = 0; i < n; ++i) y.as<int64_t>()[at + i * inner] = order[i];
    });
  });
}

int64_t first_nonfinite(const View& x) {
  const int64_t n = x.numel();
  std::atomic<int64_t> first{std::numeric_limits<int64_t>::max()};
  visit_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (!std::is_integral_v<T>) {
      const T* p = x.as<const T>();
      parallel_ranges(n, kTaskElements, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          if (std::isfinite(convert<double>(p[i]))) continue;
          for (int64_t seen = first.load(); i < seen && !first.compare_exchange_weak(seen, i);) {
          }
          return;
        }
      });
    }
  });
  return first.load() < n ? first.load() : -1;
}

}  // namespace tessera::cpu
