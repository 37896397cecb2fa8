// AdamW over flat arenas: one launch, average and low-precision shadow included; and whether it is
// made at all.
// Rule: PyTorch's order of operations for one tensor, element by element; an element outside every
// segment is padding and keeps its values, but its shadow is written as any other.
#include <cmath>

#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kOwn = 4;  // elements of a thread: 16 bytes of each arena

struct Factors {
  float beta1, rest1, beta2, rest2, eps;  // rest = 1 - beta
};

struct Arenas {
  // One row each; data == nullptr: there is no average, no shadow.
  Rows param, grad, exp_avg, exp_avg_sq, average, shadow;
};

// The first segment that ends behind element i.
__device__ int find_segment(const AdamWSegment* segments, int count, int64_t i) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (segments[middle].end <= i) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

__global__ void __launch_bounds__(kRowBlock)
    adamw_elements(Arenas a, const AdamWSegment* segments, int count, const StepState* state,
                   Factors f) {
  const int64_t first = (int64_t{blockIdx.x} * kRowBlock + threadIdx.x) * kOwn;
  if (first >= a.param.n || state->update == 0) return;
  const float root_correction = static_cast<float>(sqrt(state->correction2));
  const float grad_scale = static_cast<float>(state->grad_scale);
  Run<float, kOwn> p = read_run<float, kOwn>(a.param, 0, first),
                   m = read_run<float, kOwn>(a.exp_avg, 0, first);
  Run<float, kOwn> v = read_run<float, kOwn>(a.exp_avg_sq, 0, first);
  const Run<float, kOwn> gradient = read_run<float, kOwn>(a.grad, 0, first);
  int at = find_segment(segments, count, first);
  bool inside[kOwn] = {};  // a segment
  for (int k = 0; k < kOwn; ++k) {
    while (at < count && segments[at].end <= first + k) ++at;
    if (at == count || segments[at].begin > first + k) continue;
    inside[k] = true;
    const double lr = state->lr * segments[at].lr_scale;
    const float decay = static_cast<float>(1 - lr * segments[at].weight_decay);
    const float step_size = static_cast<float>(lr / state->correction1);
    const float g = gradient.at[k] * grad_scale;
    m.at[k] = m.at[k] * f.beta1 + g * f.rest1;
    v.at[k] = v.at[k] * f.beta2 + f.rest2 * g * g;
    const float denominator = sqrtf(v.at[k]) / root_correction + f.eps;
    p.at[k] = p.at[k] * decay - step_size * m.at[k] / denominator;
  }
  write_run(a.param, 0, first, p);
  write_run(a.exp_avg, 0, first, m);
  write_run(a.exp_avg_sq, 0, first, v);
  if (a.shadow.data != nullptr) write_run(a.shadow, 0, first, p);
  if (a.average.data == nullptr) return;
  const float old_share = static_cast<float>(state->average_decay);
  const float new_share = static_cast<float>(1 - state->average_decay);
  Run<float, kOwn> average = read_run<float, kOwn>(a.average, 0, first);
  for (int k = 0; k < kOwn; ++k) {
    if (inside[k]) average.at[k] = average.at[k] * old_share + p.at[k] * new_share;
  }
  write_run(a.average, 0, first, average);
}

__global__ void __launch_bounds__(kWarp)
    judge_one_step(StepRule rule, const double* losses, int64_t count, int64_t stride,
                   const float* sum_squares, StepState* state) {
  if (threadIdx.x == 0) judge(rule, losses, count, stride, sum_squares, state);
}

}  // namespace

void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                StepState* state) {
  launch(judge_one_step, 1, kWarp, 0, stream(), rule, losses.as<const double>(), losses.shape[0],
         losses.stride[0], sum_squares.as<const float>(), state);
}

void adamw(const AdamWArgs& args) {
  const int64_t n = args.param.numel();
  Factors factors{};
  factors.beta1 = static_cast<float>(args.beta1);
  factors.rest1 = static_cast<float>(1 - args.beta1);
  factors.beta2 = static_cast<float>(args.beta2);
  factors.rest2 = static_cast<float>(1 - args.beta2);
  factors.eps = static_cast<float>(args.eps);
  const Arenas arenas{Rows(args.param, n),      Rows(args.grad, n),    Rows(args.exp_avg, n),
                      Rows(args.exp_avg_sq, n), Rows(args.average, n), Rows(args.shadow, n)};
  launch(adamw_elements, ceil_div(n, kRowBlock * kOwn), kRowBlock, 0, stream(), arenas,
         args.segments, static_cast<int>(args.segment_count), args.state, factors);
}

}  // namespace tessera::cuda
