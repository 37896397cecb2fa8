// Gather and scatter-add along the middle of (outer, n, inner).
// Where the index does not vary along inner (a row of a table, a token), whole rows move at once.
#include <atomic>
#include <cstring>

#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "engine/index_view.h"

namespace tessera::cpu {
void gather(const View& x, const View& index, const View& y) {
  const int64_t n = x.shape[1], k = y.shape[1], inner = y.shape[2], rows = y.shape[0] * k;
  const IndexView idx(index);
  const bool whole_rows = idx.inner == 0 || inner == 1;
  visit_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* src = x.as<const T>();
    T* dst = y.as<T>();
    parallel_ranges(rows, std::max<int64_t>(1, kTaskElements / std::max<int64_t>(inner, 1)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row) {
                        const int64_t o = row / k, j = row % k;
                        T* out = dst + row * inner;
                        if (whole_rows) {
                          std::memcpy(out, src + (o * n + idx.at(o, j, 0)) * inner,
                                      static_cast<size_t>(inner) * sizeof(T));
                          continue;
                        }
                        for (int64_t i = 0; i < inner; ++i) {
                          out[i] = src[(o * n + idx.at(o, j, i)) * inner + i];
                        }
                      }
                    });
  });
}

// One task owns one outer index and one block of columns, so additions to an element stay in
// order (j ascending) without atomics.
void scatter_add(const View& s, const View& index, const View& x) {
  const int64_t n = x.shape[1], k = s.shape[1], inner = s.shape[2], outer = s.shape[0];
  const int64_t blocks = ceil_div(inner, kBlock);
  const IndexView idx(index);
  visit_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = typename ComputeOf<T>::type;
    const T* src = s.as<const T>();
    T* dst = x.as<T>();
    parallel_tasks(outer * blocks, [&](int64_t task) {
      const int64_t o = task / blocks, c0 = task % blocks * kBlock;
      const int64_t c1 = std::min(inner, c0 + kBlock);
      for (int64_t j = 0; j < k; ++j) {
        const T* from = src + (o * k + j) * inner;
        for (int64_t i = c0; i < c1; ++i) {
          T& to = dst[(o * n + idx.at(o, j, i)) * inner + i];
          to = convert<T>(static_cast<C>(convert<C>(to) + convert<C>(from[i])));
        }
      }
    });
  });
}

bool index_in_range(const View& index, int64_t n) {
  const LoopNest<1> nest = collapse<1>({index});
  std::atomic<bool> good{true};
  if (nest.numel == 0) return good;
  const int64_t stride = nest.stride[0][nest.ndim - 1];
  parallel_ranges(nest.rows(), std::max<int64_t>(1, kTaskElements / nest.inner()),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t row = begin; row < end; ++row) {
                      const int64_t* p = index.as<const int64_t>() + nest.row_offsets(row)[0];
                      for (int64_t i = 0; i < nest.inner(); ++i) {
                        const int64_t value = p[i * stride];
                        if (value < 0 || value >= n) good.store(false, std::memory_order_relaxed);
                      }
                    }
                  });
  return good;
}

}  // namespace tessera::cpu
