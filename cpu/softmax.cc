// Softmax and log-softmax of the rows of a contiguous (rows, n), and their backwards.
// Rule: as PyTorch does: -inf has probability 0, a row of nothing but -inf is NaN, as is a row with
// NaN or +inf in it. n = 0 is an empty row.
#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

enum Slot { kInput, kGradient, kResult };

template <class C>
void softmax_row(const C* x, C* y, int64_t n) {
  const C sum = row_exp(x, row_max(x, n), n, y);
  const Lane<C> scale(C(1) / sum);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(y + i, count) * scale, y + i, count);
  });
}

// dx = y (dy - sum(y dy))
template <class C>
void softmax_backward_row(const C* y, const C* dy, C* dx, int64_t n) {
  const Lane<C> dot(row_dot(y, dy, n));
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(y + i, count) * (load_lane(dy + i, count) - dot), dx + i, count);
  });
}

// Two subtractions: x - max is exact where it matters, max + log(sum) would round first.
template <class C>
void log_softmax_row(const C* x, C* y, int64_t n) {
  const C top = row_max(x, n);
  const Lane<C> shift(top), log_sum(lane_log(row_exp_sum(x, top, n)));
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(x + i, count) - shift - log_sum, y + i, count);
  });
}

// dx = dy - exp(y) sum(dy)
template <class C>
void log_softmax_backward_row(const C* y, const C* dy, C* dx, int64_t n) {
  const Lane<C> sum(row_sum(dy, n));
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(dy + i, count) - exp(load_lane(y + i, count)) * sum, dx + i, count);
  });
}

template <class Row>
void map_rows(const View& x, const View& y, Row row_function) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  if (rows * n == 0) return;
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_rows(rows, n, [&](int64_t row) {
      C* out = start_row<C>(y, row, n, kResult);
      row_function(read_row<C>(x, row, n, kInput), out, n);
      finish_row(out, y, row, n);
    });
  });
}

template <class Row>
void map_rows_backward(const View& y, const View& dy, const View& dx, Row row_function) {
  const int64_t rows = y.shape[0], n = y.shape[1];
  if (rows * n == 0) return;
  visit_floating(y.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_rows(rows, n, [&](int64_t row) {
      C* out = start_row<C>(dx, row, n, kResult);
      row_function(read_row<C>(y, row, n, kInput), read_row<C>(dy, row, n, kGradient), out, n);
      finish_row(out, dx, row, n);
    });
  });
}

}  // namespace

void softmax(const View& x, const View& y) {
  map_rows(x, y, [](const auto* in, auto* out, int64_t n) { softmax_row(in, out, n); });
}

void softmax_backward(const View& y, const View& dy, const View& dx) {
  map_rows_backward(y, dy, dx, [](const auto* in, const auto* d, auto* out, int64_t n) {
    softmax_backward_row(in, d, out, n);
  });
}

void log_softmax(const View& x, const View& y) {
  map_rows(x, y, [](const auto* in, auto* out, int64_t n) { log_softmax_row(in, out, n); });
}

void log_softmax_backward(const View& y, const View& dy, const View& dx) {
  map_rows_backward(y, dy, dx, [](const auto* in, const auto* d, auto* out, int64_t n) {
    log_softmax_backward_row(in, d, out, n);
  });
}

}  // namespace tessera::cpu
