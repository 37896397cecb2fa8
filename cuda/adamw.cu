// AdamW over flat arenas: one launch, the low-precision shadow included.
// Rule: PyTorch's order of operations for one tensor, element by element; an element outside every
// segment is padding and is not touched, but its shadow is written as any other.
#include <cmath>
#include <cstring>
#include <vector>

#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

struct Factors {
  float beta1, rest1, beta2, rest2;  // rest = 1 - beta
  float root_correction, eps, grad_scale;
};
// Of the learning rate and a segment, computed on the host in f64.
struct Segment {
  int64_t begin, end;
  float decay, step_size;
};

struct Arenas {
  float* param;
  const float* grad;
  float *exp_avg, *exp_avg_sq;
  void* shadow;  // nullptr: none
  DType shadow_dtype;
  int64_t n;
};

__global__ void __launch_bounds__(kRowBlock)
    adamw_elements(Arenas a, const Segment* segments, int count, Factors f) {
  const int64_t i = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (i >= a.n) return;
  // The first segment that ends behind i.
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (segments[middle].end <= i) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  float p = a.param[i];
  if (low < count && segments[low].begin <= i) {
    const float g = a.grad[i] * f.grad_scale;
    p = p * segments[low].decay;
    const float m = a.exp_avg[i] * f.beta1 + g * f.rest1;
    const float v = a.exp_avg_sq[i] * f.beta2 + f.rest2 * g * g;
    const float denominator = sqrtf(v) / f.root_correction + f.eps;
    p = p - segments[low].step_size * m / denominator;
    a.param[i] = p;
    a.exp_avg[i] = m;
    a.exp_avg_sq[i] = v;
  }
  if (a.shadow != nullptr) store_element<float>(a.shadow, a.shadow_dtype, i, p);
}

}  // namespace

void adamw(const AdamWArgs& args) {
  const double correction1 = 1 - std::pow(args.beta1, args.step);
  const double correction2 = 1 - std::pow(args.beta2, args.step);
  Factors factors{};
  factors.beta1 = static_cast<float>(args.beta1);
  factors.rest1 = static_cast<float>(1 - args.beta1);
  factors.beta2 = static_cast<float>(args.beta2);
  factors.rest2 = static_cast<float>(1 - args.beta2);
  factors.root_correction = static_cast<float>(std::sqrt(correction2));
  factors.eps = static_cast<float>(args.eps);
  factors.grad_scale = static_cast<float>(args.grad_scale);
  std::vector<Segment> segments;
  for (const AdamWSegment& s : *args.segments) {
    const double lr = args.lr * s.lr_scale;
    segments.push_back({s.begin, s.end, static_cast<float>(1 - lr * s.weight_decay),
                        static_cast<float>(lr / correction1)});
  }
  const size_t bytes = segments.size() * sizeof(Segment);
  const Scratch on_device(bytes);
  copy_from_host(on_device.as<void>(), segments.data(), bytes);
  Arenas arenas{};
  arenas.param = args.param.as<float>();
  arenas.grad = args.grad.as<const float>();
  arenas.exp_avg = args.exp_avg.as<float>();
  arenas.exp_avg_sq = args.exp_avg_sq.as<float>();
  arenas.shadow = args.shadow.data;
  arenas.shadow_dtype = args.shadow.dtype;
  arenas.n = args.param.numel();
  launch(adamw_elements, ceil_div(arenas.n, kRowBlock), kRowBlock, 0, stream(), arenas,
         on_device.as<const Segment>(), static_cast<int>(segments.size()), factors);
}

}  // namespace tessera::cuda
