// Cross entropy of the rows of contiguous logits (rows, n) with integer labels, and its gradient
// in the same launch; a group of threads a row.
// Rule: as PyTorch does: with smoothing s the target is (1 - s) on the label plus s / n everywhere;
// a row whose label is ignore_index loses 0 and has no gradient; one whose label is no class loses
// NaN. A row is read again from the cache, not kept in registers.
// Bytes an element of 16 bits, with the scaling by what the mean is worth: 8 (logits read, gradient
// written, then scaled where it lies); a cast to f32, a kernel for the loss, one for the gradient
// and the cast back move 24.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

// -sum(target log_softmax(x)) = (1 - s) (lse - x[label]) + s (lse - mean(x)); its gradient is
// softmax(x) - target, times gradient_scale. dx.data == nullptr: not wanted.
template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    cross_entropy_rows(Rows x, Vector labels, double smoothing, int64_t ignore_index, Vector losses,
                       Rows dx, C gradient_scale, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const int64_t label = read_element<int64_t>(labels, group.row);
  const bool ignored = label == ignore_index;
  const C top = row_max<C>(group, x);
  const C lse = top + log_of(row_exp_sum(group, x, top));
  C sum = 0;
  // Without smoothing a logit of -inf elsewhere must not meet a factor 0.
  if (smoothing != 0) {
    group.for_each_run(x.n, [&](int64_t i) {
      for (const C e : read_run<C>(x, group.row, i).at) sum += e;
    });
    sum = group.sum(sum);
  }
  if (dx.data != nullptr) {
    const C spread = static_cast<C>(smoothing / static_cast<double>(x.n));
    group.for_each_run(x.n, [&](int64_t i) {
      Run<C> v = read_run<C>(x, group.row, i);
      for (int k = 0; k < kRun; ++k) {
        v.at[k] = exp_of(v.at[k] - lse) - spread;
        if (i + k == label) v.at[k] -= static_cast<C>(1 - smoothing);
        v.at[k] = ignored ? C(0) : v.at[k] * gradient_scale;
      }
      write_run(dx, group.row, i, v);
    });
  }
  if (group.thread != 0) return;
  C loss = 0;
  if (!ignored && (label < 0 || label >= x.n)) {
    loss = static_cast<C>(NAN);
  } else if (!ignored) {
    loss = lse - load_element<C>(x.data, x.dtype, group.row * x.n + label);
    if (smoothing != 0) {
      const C spread = lse - sum / static_cast<C>(x.n);
      loss = static_cast<C>(1 - smoothing) * loss + static_cast<C>(smoothing) * spread;
    }
  }
  write_element(losses, group.row, loss);
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& args) {
  const int64_t rows = args.logits.shape[0], n = args.logits.shape[1];
  visit_floating(args.logits.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, cross_entropy_rows<C, kRowBlock>, cross_entropy_rows<C, kWarp>,
                Rows(args.logits, n), Vector(args.labels), args.label_smoothing, args.ignore_index,
                Vector(args.losses), Rows(args.dlogits, n), static_cast<C>(args.gradient_scale));
  });
}

}  // namespace tessera::cuda
