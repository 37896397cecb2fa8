// AdamW over flat arenas, one pass, average and low-precision shadow included.
// Rule: PyTorch's order of operations for one tensor, element by element; an element outside every
// segment is padding, of which only the shadow is written.
#include <algorithm>
#include <cmath>
#include <span>

#include "cpu/kernels.h"
#include "cpu/lanes.h"
#include "cpu/pool.h"

namespace tessera::cpu {
namespace {

struct Factors {
  float decay, step_size;            // of the segment
  float beta1, rest1, beta2, rest2;  // rest = 1 - beta
  float root_correction, eps, grad_scale;
  float average_old, average_new;  // shares in the average
};

struct State {
  Lane<float> p, m, v;
};

State advance(State s, Lane<float> g, const Factors& f) {
  g = g * Lane<float>(f.grad_scale);
  s.p = s.p * Lane<float>(f.decay);
  s.m = s.m * Lane<float>(f.beta1) + g * Lane<float>(f.rest1);
  s.v = s.v * Lane<float>(f.beta2) + Lane<float>(f.rest2) * g * g;
  const Lane<float> denominator = sqrt(s.v) / Lane<float>(f.root_correction) + Lane<float>(f.eps);
  s.p = s.p - Lane<float>(f.step_size) * s.m / denominator;
  return s;
}

Lane<float> moved(Lane<float> average, Lane<float> p, const Factors& f) {
  return average * Lane<float>(f.average_old) + p * Lane<float>(f.average_new);
}

void update(const AdamWArgs& args, const Factors& factors, int64_t begin, int64_t end) {
  constexpr int64_t kWidth = kLane<float>;
  float* p = args.param.as<float>();
  const float* g = args.grad.as<float>();
  float* m = args.exp_avg.as<float>();
  float* v = args.exp_avg_sq.as<float>();
  float* average = args.average.as<float>();
  int64_t i = begin;
  for (; i + kWidth <= end; i += kWidth) {
    const State s =
        advance({Lane<float>::load(p + i), Lane<float>::load(m + i), Lane<float>::load(v + i)},
                Lane<float>::load(g + i), factors);
    s.p.store(p + i);
    s.m.store(m + i);
    s.v.store(v + i);
    if (average != nullptr) moved(Lane<float>::load(average + i), s.p, factors).store(average + i);
  }
  if (i == end) return;
  const int64_t rest = end - i;
  const State s = advance({Lane<float>::load_part(p + i, rest), Lane<float>::load_part(m + i, rest),
                           Lane<float>::load_part(v + i, rest)},
                          Lane<float>::load_part(g + i, rest), factors);
  s.p.store_part(p + i, rest);
  s.m.store_part(m + i, rest);
  s.v.store_part(v + i, rest);
  if (average == nullptr) return;
  moved(Lane<float>::load_part(average + i, rest), s.p, factors).store_part(average + i, rest);
}

// While the chunk's parameters are in the cache.
void write_shadow(const View& shadow, const View& param, int64_t begin, int64_t end) {
  if (shadow.data == nullptr) return;
  scatter_elements(param.as<float>() + begin, end - begin,
                   shadow.as<char>() + begin * static_cast<int64_t>(size_of(shadow.dtype)),
                   shadow.dtype, 1);
}

}  // namespace

void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                StepState* state) {
  judge(rule, losses.as<double>(), losses.shape[0], losses.stride[0], sum_squares.as<float>(),
        state);
}

void adamw(const AdamWArgs& args) {
  constexpr int64_t kChunk = 65536;  // 1 MiB over the four arenas
  const StepState& state = *args.state;
  if (state.update == 0) return;
  const std::span segments(args.segments, static_cast<size_t>(args.segment_count));
  Factors common{};
  common.beta1 = static_cast<float>(args.beta1);
  common.rest1 = static_cast<float>(1 - args.beta1);
  common.beta2 = static_cast<float>(args.beta2);
  common.rest2 = static_cast<float>(1 - args.beta2);
  common.root_correction = static_cast<float>(std::sqrt(state.correction2));
  common.eps = static_cast<float>(args.eps);
  common.grad_scale = static_cast<float>(state.grad_scale);
  common.average_old = static_cast<float>(state.average_decay);
  common.average_new = static_cast<float>(1 - state.average_decay);
  parallel_ranges(args.param.numel(), kChunk, [&](int64_t begin, int64_t end) {
    auto segment = std::partition_point(segments.begin(), segments.end(),
                                        [&](const AdamWSegment& s) { return s.end <= begin; });
    for (; segment != segments.end() && segment->begin < end; ++segment) {
      const double lr = state.lr * segment->lr_scale;
      Factors factors = common;
      factors.decay = static_cast<float>(1 - lr * segment->weight_decay);
      factors.step_size = static_cast<float>(lr / state.correction1);
      update(args, factors, std::max(begin, segment->begin), std::min(end, segment->end));
    }
    write_shadow(args.shadow, args.param, begin, end);
  });
}

}  // namespace tessera::cpu
