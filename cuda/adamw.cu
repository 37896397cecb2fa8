// AdamW over flat arenas: one launch, the low-precision shadow included.
// Rule: PyTorch's order of operations for one tensor, element by element; an element outside every
// segment is padding and keeps its values, but its shadow is written as any other.
#include <cmath>
#include <cstring>
#include <vector>

#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

struct Factors {
  double lr, correction1;
  float beta1, rest1, beta2, rest2;  // rest = 1 - beta
  float root_correction, eps, grad_scale;
};

struct Arenas {
  Rows param, grad, exp_avg, exp_avg_sq, shadow;  // one row each; shadow.data == nullptr: none
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

// Four elements a thread.
__global__ void __launch_bounds__(kRowBlock)
    adamw_elements(Arenas a, const AdamWSegment* segments, int count, Factors f) {
  const int64_t first = (int64_t{blockIdx.x} * kRowBlock + threadIdx.x) * 4;
  if (first >= a.param.n) return;
  Four<float> p = read_four<float>(a.param, 0, first), m = read_four<float>(a.exp_avg, 0, first);
  Four<float> v = read_four<float>(a.exp_avg_sq, 0, first);
  const Four<float> gradient = read_four<float>(a.grad, 0, first);
  int at = find_segment(segments, count, first);
  for (int k = 0; k < 4; ++k) {
    while (at < count && segments[at].end <= first + k) ++at;
    if (at == count || segments[at].begin > first + k) continue;
    const double lr = f.lr * segments[at].lr_scale;
    const float decay = static_cast<float>(1 - lr * segments[at].weight_decay);
    const float step_size = static_cast<float>(lr / f.correction1);
    const float g = gradient.at[k] * f.grad_scale;
    m.at[k] = m.at[k] * f.beta1 + g * f.rest1;
    v.at[k] = v.at[k] * f.beta2 + f.rest2 * g * g;
    const float denominator = sqrtf(v.at[k]) / f.root_correction + f.eps;
    p.at[k] = p.at[k] * decay - step_size * m.at[k] / denominator;
  }
  write_four(a.param, 0, first, p);
  write_four(a.exp_avg, 0, first, m);
  write_four(a.exp_avg_sq, 0, first, v);
  if (a.shadow.data != nullptr) write_four(a.shadow, 0, first, p);
}

// The segments on the device: uploaded when they are others than the last time, so that a training
// loop copies nothing after its first step.
const AdamWSegment* on_device(const std::vector<AdamWSegment>& segments) {
  static std::vector<AdamWSegment> known;
  static void* copy = nullptr;
  const size_t bytes = segments.size() * sizeof(AdamWSegment);
  const bool same = copy != nullptr && known.size() == segments.size() &&
                    std::memcmp(known.data(), segments.data(), bytes) == 0;
  if (!same) {
    CachingAllocator& allocator = backend(Device::kCuda).allocator();
    if (copy != nullptr) allocator.release(copy, known.size() * sizeof(AdamWSegment));
    copy = allocator.allocate(bytes);
    copy_from_host(copy, segments.data(), bytes);
    known = segments;
  }
  return static_cast<const AdamWSegment*>(copy);
}

}  // namespace

void adamw(const AdamWArgs& args) {
  const int64_t n = args.param.numel();
  Factors factors{};
  factors.lr = args.lr;
  factors.correction1 = 1 - std::pow(args.beta1, args.step);
  factors.beta1 = static_cast<float>(args.beta1);
  factors.rest1 = static_cast<float>(1 - args.beta1);
  factors.beta2 = static_cast<float>(args.beta2);
  factors.rest2 = static_cast<float>(1 - args.beta2);
  factors.root_correction = static_cast<float>(std::sqrt(1 - std::pow(args.beta2, args.step)));
  factors.eps = static_cast<float>(args.eps);
  factors.grad_scale = static_cast<float>(args.grad_scale);
  const Arenas arenas{Rows(args.param, n), Rows(args.grad, n), Rows(args.exp_avg, n),
                      Rows(args.exp_avg_sq, n), Rows(args.shadow, n)};
  launch(adamw_elements, ceil_div(n, kRowBlock * 4), kRowBlock, 0, stream(), arenas,
         on_device(*args.segments), static_cast<int>(args.segments->size()), factors);
}

}  // namespace tessera::cuda
