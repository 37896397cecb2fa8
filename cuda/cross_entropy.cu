// Cross entropy of the rows of contiguous logits (rows, n) with integer labels, and its backward.
// Rule: as PyTorch does: with smoothing s the target is (1 - s) on the label plus s / n everywhere;
// a row whose label is ignore_index loses 0 and has no gradient; one whose label is no class loses
// NaN.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

// -sum(target log_softmax(x)) = (1 - s) (lse - x[label]) + s (lse - mean(x))
template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    cross_entropy_rows(Rows x, Vector labels, double smoothing, int64_t ignore_index, Vector losses,
                       Vector lse, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const C top = row_max<C>(group, x);
  const C log_sum = top + log_of(row_exp_sum(group, x, top));
  C sum = 0;
  // Without smoothing a logit of -inf elsewhere must not meet a factor 0.
  if (smoothing != 0) {
    group.for_each_four(x.n, [&](int64_t i) {
      for (const C e : read_four<C>(x, group.row, i).at) sum += e;
    });
    sum = group.sum(sum);
  }
  if (group.thread != 0) return;
  const int64_t label = read_element<int64_t>(labels, group.row);
  C loss = 0;
  if (label != ignore_index && (label < 0 || label >= x.n)) {
    loss = static_cast<C>(NAN);
  } else if (label != ignore_index) {
    loss = log_sum - load_element<C>(x.data, x.dtype, group.row * x.n + label);
    if (smoothing != 0) {
      const C spread = log_sum - sum / static_cast<C>(x.n);
      loss = static_cast<C>(1 - smoothing) * loss + static_cast<C>(smoothing) * spread;
    }
  }
  write_element(lse, group.row, log_sum);
  write_element(losses, group.row, loss);
}

template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    cross_entropy_backward_rows(Rows x, Vector labels, double smoothing, int64_t ignore_index,
                                Vector lse, Vector dlosses, Rows dx, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const int64_t label = read_element<int64_t>(labels, group.row);
  const bool ignored = label == ignore_index;
  const C log_sum = read_element<C>(lse, group.row), scale = read_element<C>(dlosses, group.row);
  const C spread = static_cast<C>(smoothing / static_cast<double>(x.n));
  const C at_label = static_cast<C>(1 - smoothing) * scale;
  group.for_each_four(x.n, [&](int64_t i) {
    Four<C> v = read_four<C>(x, group.row, i);
    for (int k = 0; k < 4; ++k) {
      v.at[k] = (exp_of(v.at[k] - log_sum) - spread) * scale;
      if (i + k == label) v.at[k] -= at_label;
      if (ignored) v.at[k] = 0;
    }
    write_four(dx, group.row, i, v);
  });
}

}  // namespace

void cross_entropy(const View& logits, const View& labels, double label_smoothing,
                   int64_t ignore_index, const View& losses, const View& lse) {
  const int64_t rows = logits.shape[0], n = logits.shape[1];
  visit_floating(logits.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, cross_entropy_rows<C, kRowBlock>, cross_entropy_rows<C, kWarp>,
                Rows(logits, n), Vector(labels), label_smoothing, ignore_index, Vector(losses),
                Vector(lse));
  });
}

void cross_entropy_backward(const View& logits, const View& labels, double label_smoothing,
                            int64_t ignore_index, const View& lse, const View& dlosses,
                            const View& dlogits) {
  const int64_t rows = logits.shape[0], n = logits.shape[1];
  visit_floating(logits.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, cross_entropy_backward_rows<C, kRowBlock>,
                cross_entropy_backward_rows<C, kWarp>, Rows(logits, n), Vector(labels),
                label_smoothing, ignore_index, Vector(lse), Vector(dlosses), Rows(dlogits, n));
  });
}

}  // namespace tessera::cuda
