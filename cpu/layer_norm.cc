// Layer norm of the rows of a contiguous (rows, n): y = (x - mean) rstd w + b, and its backward;
// with a residual branch those of x + r, which is then added, and its gradient joined, row by row.
// Rule: the variance is the mean square of x - mean, in a second pass; dw and db are summed over
// fixed chunks of rows, the chunks in order.
// With a branch, bytes an element in f32: forward 16 where addition and norm move 20, backward 16
// instead of 24 (the gradient's addition reads two and writes one).
#include <cmath>

#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

// kScale, kShift and kPartial are the caller's, read by every task.
enum Slot { kInput, kBranch, kResult, kSum, kScale, kShift };
constexpr Slot kGradient = kBranch, kPartial = kShift;  // in backward

constexpr int64_t kChunkRows = 64;  // rows of one partial sum of dw and db

// A vector as C, or n times `value` where there is none; the caller's scratch `slot`.
template <class C>
const C* read_vector(const View& v, int64_t n, C value, int slot) {
  C* buffer = thread_scratch<C>(slot, n);
  if (v.data == nullptr) {
    std::fill_n(buffer, n, value);
  } else {
    gather_elements(v.data, v.dtype, v.stride[0], n, buffer);
  }
  return buffer;
}

template <class C>
C mean_square_distance(const C* x, C mean, int64_t n) {
  Lane<C> sum(0.0);
  const Lane<C> center(mean);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> d = load_lane(x + i, count, mean) - center;
    sum = sum + d * d;
  });
  return horizontal_sum(sum) / static_cast<C>(n);
}

// Row `row` of x + r, as sum stores it.
template <class C>
const C* add_branch(const LayerNormArgs& args, int64_t row, int64_t n) {
  const C *x = read_row<C>(args.x, row, n, kInput), *r = read_row<C>(args.r, row, n, kBranch);
  C* sum = start_row<C>(args.sum, row, n, kSum);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(x + i, count) + load_lane(r + i, count), sum + i, count);
  });
  finish_row(sum, args.sum, row, n);
  return read_row<C>(args.sum, row, n, kSum);
}

// dx = dsum + rstd (g - mean(g) - xhat mean(g xhat)) with g = dy w; adds dy xhat to dw and dy to
// db. dsum, dw and db may be nullptr.
template <class C>
void backward_row(const C* x, const C* dy, const C* dsum, const C* w, C mean, C rstd, int64_t n,
                  C* dx, C* dw, C* db) {
  const Lane<C> center(mean), scale(rstd);
  Lane<C> sum_g(0.0), sum_gx(0.0);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> d = load_lane(dy + i, count);
    const Lane<C> xhat = (load_lane(x + i, count) - center) * scale;
    const Lane<C> g = d * load_lane(w + i, count), dx_hat = d * xhat;
    sum_g = sum_g + g;
    sum_gx = sum_gx + g * xhat;
    if (dw != nullptr) {
      store_lane(load_lane(dw + i, count) + dx_hat, dw + i, count);
      store_lane(load_lane(db + i, count) + d, db + i, count);
    }
  });
  const Lane<C> mean_g(horizontal_sum(sum_g) / static_cast<C>(n));
  const Lane<C> mean_gx(horizontal_sum(sum_gx) / static_cast<C>(n));
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> xhat = (load_lane(x + i, count) - center) * scale;
    const Lane<C> g = load_lane(dy + i, count) * load_lane(w + i, count);
    Lane<C> d = scale * (g - mean_g - xhat * mean_gx);
    if (dsum != nullptr) d = load_lane(dsum + i, count) + d;
    store_lane(d, dx + i, count);
  });
}

// The partial sums (chunks, 2, n), chunk after chunk, into dw and db.
template <class C>
void sum_chunks(const C* partial, int64_t chunks, int64_t n, const View& dw, const View& db) {
  constexpr int64_t kColumns = 256;
  parallel_ranges(n, kColumns, [&](int64_t begin, int64_t end) {
    for (int which = 0; which < 2; ++which) {
      const View& out = which == 0 ? dw : db;
      if (out.data == nullptr) continue;
      C sum[kColumns] = {};
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const C* part = partial + (chunk * 2 + which) * n + begin;
        for (int64_t j = 0; j < end - begin; ++j) sum[j] += part[j];
      }
      write_at(sum, out, begin, end - begin);
    }
  });
}

}  // namespace

void layer_norm(const LayerNormArgs& args) {
  const int64_t rows = args.x.shape[0], n = args.x.shape[1];
  if (rows * n == 0) return;
  visit_floating(args.x.dtype, [&](auto tag) {
    using C = decltype(tag);
    const C* scale = read_vector<C>(args.w, n, C(1), kScale);
    const C* shift = read_vector<C>(args.b, n, C(0), kShift);
    parallel_rows(rows, n, [&](int64_t row) {
      const C* in = args.r.data == nullptr ? read_row<C>(args.x, row, n, kInput)
                                           : add_branch<C>(args, row, n);
      C* out = start_row<C>(args.y, row, n, kResult);
      const C center = row_sum(in, n) / static_cast<C>(n);
      const C variance = mean_square_distance(in, center, n);
      const C inverse = C(1) / std::sqrt(variance + static_cast<C>(args.eps));
      const Lane<C> center_lane(center), inverse_lane(inverse);
      for_each_lane<C>(n, [&](int64_t i, int64_t count) {
        const Lane<C> xhat = (load_lane(in + i, count) - center_lane) * inverse_lane;
        store_lane(xhat * load_lane(scale + i, count) + load_lane(shift + i, count), out + i,
                   count);
      });
      finish_row(out, args.y, row, n);
      write_element(args.mean, row, center);
      write_element(args.rstd, row, inverse);
    });
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args) {
  const int64_t rows = args.x.shape[0], n = args.x.shape[1];
  if (n == 0) return;
  visit_floating(args.x.dtype, [&](auto tag) {
    using C = decltype(tag);
    const int64_t chunks = ceil_div(rows, kChunkRows);
    const bool sums = args.dw.data != nullptr || args.db.data != nullptr;
    const C* scale = read_vector<C>(args.w, n, C(1), kScale);
    C* partial = sums ? thread_scratch<C>(kPartial, chunks * 2 * n) : nullptr;  // (chunks, 2, n)
    parallel_ranges(rows, kChunkRows, [&](int64_t begin, int64_t end) {
      C* sum = nullptr;
      if (sums) {
        sum = partial + begin / kChunkRows * 2 * n;
        std::fill_n(sum, 2 * n, C(0));
      }
      for (int64_t row = begin; row < end; ++row) {
        const C* more = args.dsum.data == nullptr ? nullptr : read_row<C>(args.dsum, row, n, kSum);
        C* out = start_row<C>(args.dx, row, n, kResult);
        backward_row(read_row<C>(args.x, row, n, kInput), read_row<C>(args.dy, row, n, kGradient),
                     more, scale, read_element<C>(args.mean, row), read_element<C>(args.rstd, row),
                     n, out, sum, sums ? sum + n : nullptr);
        finish_row(out, args.dx, row, n);
        if (args.dr.data != nullptr) write_at(out, args.dr, row * n, n);
      }
    });
    if (sums) sum_chunks(partial, chunks, n, args.dw, args.db);
  });
}

}  // namespace tessera::cpu
