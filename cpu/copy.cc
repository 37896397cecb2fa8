// Strided copies with conversion, and fills.
// Most of what looks like its own op (cat, pad, roll, patches, transposes) ends here.
#include <cstring>

#include "cpu/blocks.h"
#include "cpu/kernels.h"

namespace tessera::cpu {
namespace {

// A tile that is read along one dimension and written along another stays within L1 for both.
constexpr int64_t kTile = 32;

template <class To, class From>
void copy_row(const From* src, int64_t src_stride, To* dst, int64_t dst_stride, int64_t n) {
  if constexpr (std::is_same_v<To, From>) {
    if (src_stride == 1 && dst_stride == 1) {
      std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(To));
      return;
    }
  }
  for (int64_t i = 0; i < n; ++i) dst[i * dst_stride] = convert<To>(src[i * src_stride]);
}

// Rows are written contiguously but read across: walk the plane (second last, last) in tiles.
template <class To, class From>
void copy_planes(const LoopNest<2>& nest, const From* src, To* dst) {
  const int last = nest.ndim - 1;
  const int64_t rows = nest.shape[last - 1], columns = nest.shape[last];
  const int64_t planes = nest.numel / (rows * columns);
  const int64_t row_tiles = ceil_div(rows, kTile);
  parallel_tasks(planes * row_tiles, [&](int64_t task) {
    const auto at = nest.row_offsets(task / row_tiles * rows);
    const int64_t r0 = task % row_tiles * kTile, r1 = std::min(rows, r0 + kTile);
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      const int64_t c1 = std::min(columns, c0 + kTile);
      for (int64_t r = r0; r < r1; ++r) {
        copy_row(src + at[1] + r * nest.stride[1][last - 1] + c0 * nest.stride[1][last],
                 nest.stride[1][last],
                 dst + at[0] + r * nest.stride[0][last - 1] + c0 * nest.stride[0][last],
                 nest.stride[0][last], c1 - c0);
      }
    }
  });
}

template <class To, class From>
void copy_rows(const LoopNest<2>& nest, const From* src, To* dst) {
  const int last = nest.ndim - 1;
  const int64_t n = nest.inner();
  const int64_t piece = std::min(n, kTaskElements), pieces = ceil_div(n, piece);
  const int64_t rows_per_task = std::max<int64_t>(1, kTaskElements / n);
  parallel_ranges(nest.rows() * pieces, pieces > 1 ? 1 : rows_per_task,
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) {
                      const auto at = nest.row_offsets(i / pieces);
                      const int64_t from = i % pieces * piece;
                      copy_row(src + at[1] + from * nest.stride[1][last], nest.stride[1][last],
                               dst + at[0] + from * nest.stride[0][last], nest.stride[0][last],
                               std::min(piece, n - from));
                    }
                  });
}

}  // namespace

void copy(const View& src, const View& dst) {
  const LoopNest<2> nest = collapse<2>({dst, src});
  if (nest.numel == 0) return;
  const int last = nest.ndim - 1;
  const bool across = nest.ndim > 1 && nest.stride[1][last] > 1 && nest.stride[1][last - 1] == 1;
  visit_dtype(dst.dtype, [&](auto to) {
    visit_dtype(src.dtype, [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      const From* s = src.as<const From>();
      To* d = dst.as<To>();
      across ? copy_planes(nest, s, d) : copy_rows(nest, s, d);
    });
  });
}

void fill(const View& dst, double value) {
  const LoopNest<1> nest = collapse<1>({dst});
  if (nest.numel == 0) return;
  const int64_t n = nest.inner(), stride = nest.stride[0][nest.ndim - 1];
  visit_dtype(dst.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T v = convert<T>(value);
    parallel_ranges(nest.rows(), std::max<int64_t>(1, kTaskElements / n),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row) {
                        T* p = dst.as<T>() + nest.row_offsets(row)[0];
                        for (int64_t i = 0; i < n; ++i) p[i * stride] = v;
                      }
                    });
  });
}

}  // namespace tessera::cpu
