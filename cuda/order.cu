// Kernels that care about order along the middle of a contiguous (outer, n, inner): argmax and
// cumulative sum; and the search for a non-finite value.
// Rule: inner = 1: a group of threads a row; inner > 1: a thread a line, neighbours side by side.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

// A candidate for the largest element.
template <class C>
struct Best {
  C value;
  int64_t index;
};

// The first NaN wins, else the larger value, else the smaller index.
struct Better {
  template <class C>
  __device__ Best<C> operator()(Best<C> a, Best<C> b) const {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    bool first;
    if (a_nan != b_nan) {
      first = a_nan;
    } else if (a_nan || a.value == b.value) {
      first = a.index < b.index;
    } else {
      first = a.value > b.value;
    }
    return first ? a : b;
  }
};

template <class C>
__device__ Best<C> shuffle_xor(Best<C> x, int distance) {
  return {__shfl_xor_sync(kWholeWarp, x.value, distance),
          __shfl_xor_sync(kWholeWarp, x.index, distance)};
}

// The running best of elements in ascending order.
template <class C>
__device__ void consider(Best<C>& best, C value, int64_t index) {
  best = Better{}(best, Best<C>{value, index});
}

template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    argmax_rows(const void* x, DType dtype, int64_t n, int64_t* y, int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  // A thread without elements of its own repeats the first.
  Best<C> best{load_element<C>(x, dtype, group.row * n), 0};
  for (int64_t i = group.thread; i < n; i += kWidth) {
    consider(best, load_element<C>(x, dtype, group.row * n + i), i);
  }
  best = reduce_group<kWidth>(best, Better{});
  if (group.thread == 0) y[group.row] = best.index;
}

template <class C>
__global__ void __launch_bounds__(kRowBlock)
    argmax_lines(const void* x, DType dtype, int64_t n, int64_t inner, int64_t* y, int64_t lines) {
  const int64_t line = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (line >= lines) return;
  const int64_t at = line / inner * n * inner + line % inner;
  Best<C> best{load_element<C>(x, dtype, at), 0};
  for (int64_t i = 1; i < n; ++i) consider(best, load_element<C>(x, dtype, at + i * inner), i);
  y[line] = best.index;
}

// A warp a row, 32 elements at a time.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    cumsum_rows(const void* x, void* y, DType dtype, int64_t n, int64_t rows) {
  const Group<kWarp> group;
  if (group.row >= rows) return;
  C before = 0;
  for (int64_t first = 0; first < n; first += kWarp) {
    const int64_t i = first + group.thread, at = group.row * n + i;
    C sum = i < n ? load_element<C>(x, dtype, at) : C(0);
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const C left = __shfl_up_sync(kWholeWarp, sum, distance);
      if (group.thread >= distance) sum += left;
    }
    sum += before;
    if (i < n) store_element<C>(y, dtype, at, sum);
    before = __shfl_sync(kWholeWarp, sum, kWarp - 1);
  }
}

template <class C>
__global__ void __launch_bounds__(kRowBlock)
    cumsum_lines(const void* x, void* y, DType dtype, int64_t n, int64_t inner, int64_t lines) {
  const int64_t line = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (line >= lines) return;
  const int64_t at = line / inner * n * inner + line % inner;
  C sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += load_element<C>(x, dtype, at + i * inner);
    store_element<C>(y, dtype, at + i * inner, sum);
  }
}

using Position = unsigned long long;  // what atomicMin takes

template <class C>
__global__ void __launch_bounds__(kRowBlock)
    find_nonfinite(const void* x, DType dtype, int64_t n, Position* first) {
  const int64_t i = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (i >= n) return;
  const C value = load_element<C>(x, dtype, i);
  if (value - value != C(0)) atomicMin(first, static_cast<Position>(i));
}

}  // namespace

void argmax(const View& x, const View& y) {
  const int64_t n = x.shape[1], inner = x.shape[2], lines = x.shape[0] * inner;
  visit_compute(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    if (inner > 1) {
      return launch(argmax_lines<C>, ceil_div(lines, kRowBlock), kRowBlock, 0, stream(), x.data,
                    x.dtype, n, inner, y.as<int64_t>(), lines);
    }
    launch_rows({lines, n}, argmax_rows<C, kRowBlock>, argmax_rows<C, kWarp>, x.data, x.dtype, n,
                y.as<int64_t>());
  });
}

void cumsum(const View& x, const View& y) {
  const int64_t n = x.shape[1], inner = x.shape[2], lines = x.shape[0] * inner;
  visit_compute(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    if (inner > 1) {
      return launch(cumsum_lines<C>, ceil_div(lines, kRowBlock), kRowBlock, 0, stream(), x.data,
                    y.data, x.dtype, n, inner, lines);
    }
    launch(cumsum_rows<C>, ceil_div(lines, kRowBlock / kWarp), kRowBlock, 0, stream(), x.data,
           y.data, x.dtype, n, lines);
  });
}

int64_t first_nonfinite(const View& x) {
  const int64_t n = x.numel();
  const Scratch found(sizeof(Position));
  auto first = static_cast<Position>(n);
  copy_from_host(found.as<void>(), &first, sizeof(first));
  visit_floating(x.dtype, [&](auto tag) {
    launch(find_nonfinite<decltype(tag)>, ceil_div(n, kRowBlock), kRowBlock, 0, stream(), x.data,
           x.dtype, n, found.as<Position>());
  });
  copy_to_host(&first, found.as<void>(), sizeof(first));
  return static_cast<int64_t>(first) < n ? static_cast<int64_t>(first) : -1;
}

}  // namespace tessera::cuda
