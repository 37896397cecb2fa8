// Runs a lane function over strided views of any dtype, block by block.
// Rule: the inner function sees contiguous blocks of the compute type and nothing else; a strided
// or converted operand is gathered into a block first, a broadcast one is repeated.
#pragma once

#include <array>

#include "cpu/lanes.h"
#include "cpu/pool.h"
#include "engine/collapse.h"

namespace tessera::cpu {

inline constexpr int64_t kBlock = 512;  // elements: four f64 blocks stay in 16 KiB of L1

// operands[0 .. kIn) are read, operands[kIn .. kIn + kOut) are written.
// inner(in, out, n, context): in[i] and out[i] point at n elements of C.
template <class C, int kIn, int kOut>
void for_each_block(const std::array<View, kIn + kOut>& operands,
                    void (*inner)(const C* const* in, C* const* out, int64_t n,
                                  const void* context),
                    const void* context) {
  constexpr int kAll = kIn + kOut;
  // The outputs decide the order of the loops: writes should be contiguous.
  std::array<View, kAll> ordered;
  for (int k = 0; k < kAll; ++k) ordered[k] = operands[(k + kIn) % kAll];
  const LoopNest<kAll> nest = collapse<kAll>(ordered);
  if (nest.numel == 0) return;
  const int64_t inner_size = nest.inner();
  // A task is a run of whole rows, or a piece of a long row.
  const int64_t piece = std::min(inner_size, kTaskElements);
  const int64_t pieces = ceil_div(inner_size, piece);
  const int64_t rows_per_task = std::max<int64_t>(1, kTaskElements / inner_size);
  const int64_t rows = nest.rows();
  auto run_row = [&](int64_t row, int64_t begin, int64_t end, C(*buffer)[kBlock]) {
    const auto offset = nest.row_offsets(row);
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t n = std::min(kBlock, end - at);
      const C* in[kIn > 0 ? kIn : 1];
      C* out[kOut];
      void* where[kOut] = {};
      for (int k = 0; k < kAll; ++k) {
        const View& v = ordered[k];
        const int64_t stride = nest.stride[k][nest.ndim - 1];
        void* p = static_cast<char*>(v.data) +
                  (offset[k] + at * stride) * static_cast<int64_t>(size_of(v.dtype));
        const bool direct = v.dtype == DTypeOf<C>::value && (stride == 1 || n == 1);
        if (k < kOut) {
          where[k] = p;
          out[k] = direct ? static_cast<C*>(p) : buffer[k];
        } else if (direct) {
          in[k - kOut] = static_cast<const C*>(p);
        } else {
          if (stride == 0) {
            gather_elements(p, v.dtype, 0, 1, buffer[k]);
            std::fill_n(buffer[k] + 1, n - 1, buffer[k][0]);
          } else {
            gather_elements(p, v.dtype, stride, n, buffer[k]);
          }
          in[k - kOut] = buffer[k];
        }
      }
      inner(in, out, n, context);
      for (int k = 0; k < kOut; ++k) {
        if (out[k] == buffer[k]) {
          scatter_elements(buffer[k], n, where[k], ordered[k].dtype, nest.stride[k][nest.ndim - 1]);
        }
      }
    }
  };
  parallel_tasks(pieces > 1 ? rows * pieces : ceil_div(rows, rows_per_task), [&](int64_t task) {
    alignas(64) C buffer[kAll][kBlock];
    if (pieces > 1) {
      const int64_t begin = task % pieces * piece;
      run_row(task / pieces, begin, std::min(inner_size, begin + piece), buffer);
      return;
    }
    const int64_t last = std::min(rows, (task + 1) * rows_per_task);
    for (int64_t row = task * rows_per_task; row < last; ++row) {
      run_row(row, 0, inner_size, buffer);
    }
  });
}

}  // namespace tessera::cpu
