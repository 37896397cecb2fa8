// Cross entropy of the rows of contiguous logits (rows, n) with integer labels, and its gradient
// while the row is at hand.
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

// (softmax(x) - target) scale
template <class C>
void row_gradient(const C* x, int64_t n, int64_t label, C lse, double smoothing, double scale,
                  C* dx) {
  const Lane<C> log_sum(static_cast<double>(lse)), spread(smoothing / static_cast<double>(n));
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> d = exp(load_lane(x + i, count) - log_sum) - spread;
    store_lane(d * Lane<C>(scale), dx + i, count);
  });
  if (label >= 0 && label < n) dx[label] -= static_cast<C>((1 - smoothing) * scale);
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& args) {
  const int64_t rows = args.logits.shape[0], n = args.logits.shape[1];
  visit_floating(args.logits.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_rows(rows, n, [&](int64_t row) {
      const int64_t label = read_element<int64_t>(args.labels, row);
      const bool wanted = args.dlogits.data != nullptr;
      C* dx = wanted ? start_row<C>(args.dlogits, row, n, kResult) : nullptr;
      C loss = 0;
      if (label == args.ignore_index) {
        if (wanted) std::fill_n(dx, n, C(0));
      } else {
        const C* x = read_row<C>(args.logits, row, n, kLogits);
        const C top = row_max(x, n);
        const C lse = top + lane_log(row_exp_sum(x, top, n));
        loss = row_loss(x, n, label, lse, args.label_smoothing);
        if (wanted) {
          row_gradient(x, n, label, lse, args.label_smoothing, args.gradient_scale, dx);
        }
      }
      if (wanted) finish_row(dx, args.dlogits, row, n);
      write_element(args.losses, row, loss);
    });
  });
}

}  // namespace tessera::cpu
