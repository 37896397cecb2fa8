// Cross entropy of the rows of contiguous logits (rows, n) with integer labels, and its backward.
// Rule: as PyTorch does: with smoothing s the target is (1 - s) on the label plus s / n everywhere;
// a row whose label is ignore_index loses 0 and has no gradient; one whose label is no class loses
// NaN.
#include <limits>

#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

enum Slot { kLogits, kResult };

// -sum(target log_softmax(x)) = (1 - s) (lse - x[label]) + s (lse - mean(x))
template <class C>
C row_loss(const C* x, int64_t n, int64_t label, C lse, double smoothing) {
  if (label < 0 || label >= n) return std::numeric_limits<C>::quiet_NaN();
  const C miss = lse - x[label];
  // Without smoothing a logit of -inf elsewhere must not meet a factor 0.
  if (smoothing == 0) return miss;
  const C spread = lse - row_sum(x, n) / static_cast<C>(n);
  return static_cast<C>(1 - smoothing) * miss + static_cast<C>(smoothing) * spread;
}

}  // namespace

void cross_entropy(const View& logits, const View& labels, double label_smoothing,
                   int64_t ignore_index, const View& losses, const View& lse) {
  const int64_t rows = logits.shape[0], n = logits.shape[1];
  visit_floating(logits.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_rows(rows, n, [&](int64_t row) {
      const C* x = read_row<C>(logits, row, n, kLogits);
      const C top = row_max(x, n);
      const C log_sum = top + lane_log(row_exp_sum(x, top, n));
      const int64_t label = read_element<int64_t>(labels, row);
      write_element(lse, row, log_sum);
      write_element(losses, row,
                    label == ignore_index ? C(0) : row_loss(x, n, label, log_sum, label_smoothing));
    });
  });
}

void cross_entropy_backward(const View& logits, const View& labels, double label_smoothing,
                            int64_t ignore_index, const View& lse, const View& dlosses,
                            const View& dlogits) {
  const int64_t rows = logits.shape[0], n = logits.shape[1];
  visit_floating(logits.dtype, [&](auto tag) {
    using C = decltype(tag);
    const Lane<C> spread(label_smoothing / static_cast<double>(n));
    parallel_rows(rows, n, [&](int64_t row) {
      C* dx = start_row<C>(dlogits, row, n, kResult);
      const int64_t label = read_element<int64_t>(labels, row);
      if (label == ignore_index) {
        std::fill_n(dx, n, C(0));
      } else {
        const C* x = read_row<C>(logits, row, n, kLogits);
        const Lane<C> log_sum(read_element<C>(lse, row));
        const C dloss = read_element<C>(dlosses, row);
        const Lane<C> scale(dloss);
        for_each_lane<C>(n, [&](int64_t i, int64_t count) {
          const Lane<C> p = exp(load_lane(x + i, count) - log_sum);
          store_lane((p - spread) * scale, dx + i, count);
        });
        if (label >= 0 && label < n) dx[label] -= static_cast<C>(1 - label_smoothing) * dloss;
      }
      finish_row(dx, dlogits, row, n);
    });
  });
}

}  // namespace tessera::cpu
