// Softmax and log-softmax of the rows of a contiguous (rows, n), and their backwards.
// Rule: as PyTorch does: -inf has probability 0, a row of nothing but -inf is NaN, as is a row with
// NaN or +inf in it. A row is read again from the cache, not kept in registers.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock) softmax_rows(Rows x, Rows y, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const C top = row_max<C>(group, x);
  const C scale = C(1) / row_exp_sum(group, x, top);
  group.for_each_run(x.n, [&](int64_t i) {
    Run<C> v = read_run<C>(x, group.row, i);
    for (C& e : v.at) e = exp_of(e - top) * scale;
    write_run(y, group.row, i, v);
  });
}

// Two subtractions: x - max is exact where it matters, max + log(sum) would round first.
template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock) log_softmax_rows(Rows x, Rows y, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const C top = row_max<C>(group, x);
  const C log_sum = log_of(row_exp_sum(group, x, top));
  group.for_each_run(x.n, [&](int64_t i) {
    Run<C> v = read_run<C>(x, group.row, i);
    for (C& e : v.at) e = e - top - log_sum;
    write_run(y, group.row, i, v);
  });
}

// dx = y (dy - sum(y dy))
template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    softmax_backward_rows(Rows y, Rows dy, Rows dx, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  C dot = 0;
  group.for_each_run(y.n, [&](int64_t i) {
    const Run<C> p = read_run<C>(y, group.row, i), d = read_run<C>(dy, group.row, i);
    for (int k = 0; k < kRun; ++k) dot += p.at[k] * d.at[k];
  });
  dot = group.sum(dot);
  group.for_each_run(y.n, [&](int64_t i) {
    const Run<C> p = read_run<C>(y, group.row, i);
    Run<C> d = read_run<C>(dy, group.row, i);
    for (int k = 0; k < kRun; ++k) d.at[k] = p.at[k] * (d.at[k] - dot);
    write_run(dx, group.row, i, d);
  });
}

// dx = dy - exp(y) sum(dy)
template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    log_softmax_backward_rows(Rows y, Rows dy, Rows dx, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  C sum = 0;
  group.for_each_run(y.n, [&](int64_t i) {
    for (const C d : read_run<C>(dy, group.row, i).at) sum += d;
  });
  sum = group.sum(sum);
  group.for_each_run(y.n, [&](int64_t i) {
    const Run<C> log_p = read_run<C>(y, group.row, i);
    Run<C> d = read_run<C>(dy, group.row, i);
    for (int k = 0; k < kRun; ++k) d.at[k] -= exp_of(log_p.at[k]) * sum;
    write_run(dx, group.row, i, d);
  });
}

}  // namespace

void softmax(const View& x, const View& y) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  if (rows * n == 0) return;
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, softmax_rows<C, kRowBlock>, softmax_rows<C, kWarp>, Rows(x, n),
                Rows(y, n));
  });
}

void softmax_backward(const View& y, const View& dy, const View& dx) {
  const int64_t rows = y.shape[0], n = y.shape[1];
  if (rows * n == 0) return;
  visit_floating(y.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, softmax_backward_rows<C, kRowBlock>, softmax_backward_rows<C, kWarp>,
                Rows(y, n), Rows(dy, n), Rows(dx, n));
  });
}

void log_softmax(const View& x, const View& y) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  if (rows * n == 0) return;
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, log_softmax_rows<C, kRowBlock>, log_softmax_rows<C, kWarp>, Rows(x, n),
                Rows(y, n));
  });
}

void log_softmax_backward(const View& y, const View& dy, const View& dx) {
  const int64_t rows = y.shape[0], n = y.shape[1];
  if (rows * n == 0) return;
  visit_floating(y.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, log_softmax_backward_rows<C, kRowBlock>,
                log_softmax_backward_rows<C, kWarp>, Rows(y, n), Rows(dy, n), Rows(dx, n));
  });
}

}  // namespace tessera::cuda
