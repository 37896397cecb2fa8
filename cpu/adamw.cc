// AdamW over flat arenas, one pass, average and low-precision shadow included.
// Rule: PyTorch's order of operations for one tensor, element by element; an element outside every
// segment is padding, of which only the shadow is written.
#include <algorithm>
#include <cmath>
#include <span>

#include "cpu/kernels.h"
#include "cpu/rows.h"

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
  float* p = args.param.as<float>() + begin;
  const float* g = args.grad.as<float>() + begin;
  float* m = args.exp_avg.as<float>() + begin;
  float* v = args.exp_avg_sq.as<float>() + begin;
  float* average = args.average.data == nullptr ? nullptr : args.average.as<float>() + begin;
  for_each_lane<float>(end - begin, [&](int64_t i, int64_t count) {
    const State s =
        advance({load_lane(p + i, count), load_lane(m + i, count), load_lane(v + i, count)},
                load_lane(g + i, count), factors);
    store_lane(s.p, p + i, count);
    store_lane(s.m, m + i, count);
    store_lane(s.v, v + i, count);
    if (average == nullptr) return;
    store_lane(moved(load_lane(average + i, count), s.p, factors), average + i, count);
  });
}

// While the chunk's parameters are in the cache.
void write_shadow(const View& shadow, const View& param, int64_t begin, int64_t end) {
  if (shadow.data == nullptr) return;
  write_at(param.as<float>() + begin, shadow, begin, end - begin);
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
