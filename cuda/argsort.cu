// Stable argsort along the middle of a contiguous (outer, n, inner).
// Rule: elements are ordered by (value, index), NaN last, so no two are equal and any sorting
// network is stable. Runs of kSortRun elements are sorted in shared memory (bitonic: Batcher,
// 1968); longer lines merge runs two by two, each element finding its place by binary search.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kSortRun = 1024;
constexpr int kSortBlock = kSortRun / 2;  // a thread for each pair

template <class C>
struct Keyed {
  C value;
  int64_t index;  // kPadding: behind the end
};
constexpr int64_t kPadding = INT64_MAX;

template <class C>
__device__ bool before(const Keyed<C>& a, const Keyed<C>& b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a.index == kPadding || b.index == kPadding) return a.index < b.index;
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a.value != b.value) return a.value < b.value;
  return a.index < b.index;
}

// Lines are (outer, inner); element i of a line lies at `at` + i * inner.
struct Lines {
  int64_t n, inner;
  __device__ int64_t start(int64_t line) const { return line / inner * n * inner + line % inner; }
};

// Sorts the runs of each line: run r of line l by block (l, r), `size` elements (a power of two, at
// least the run's). The result goes to y where the line is one run, else to keys (lines, n).
template <class C>
__global__ void __launch_bounds__(kSortBlock)
    sort_runs(const void* x, DType dtype, Lines lines, int size, int64_t* y, Keyed<C>* keys) {
  const Shared<Keyed<C>> run = dynamic_shared<Keyed<C>>();
  const int64_t line = blockIdx.x, first = int64_t{blockIdx.y} * kSortRun;
  const int64_t count = lines.n - first < kSortRun ? lines.n - first : kSortRun;
  const int64_t start = lines.start(line);
  const int threads = static_cast<int>(blockDim.x), self = static_cast<int>(threadIdx.x);
  for (int i = self; i < size; i += threads) {
    run[i] = i < count
                 ? Keyed<C>{load_element<C>(x, dtype, start + (first + i) * lines.inner), first + i}
                 : Keyed<C>{C(0), kPadding};
  }
  for (int width = 2; width <= size; width *= 2) {
    for (int distance = width / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int pair = self; pair < size / 2; pair += threads) {
        const int low = pair / distance * distance * 2 + pair % distance, high = low + distance;
        const Keyed<C> a = run[low], b = run[high];
        const bool ascending = (low & width) == 0;
        if (before(b, a) == ascending) {
          run[low] = b;
          run[high] = a;
        }
      }
    }
  }
  __syncthreads();
  for (int i = self; i < count; i += threads) {
    const Keyed<C> sorted = run[i];
    if (y != nullptr) {
      y[start + i * lines.inner] = sorted.index;
    } else {
      keys[line * lines.n + first + i] = sorted;
    }
  }
}

// Merges runs of `width` elements of from (lines, n) two by two into `to`, and the last time into
// y: a thread an element.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    merge_runs(const Keyed<C>* from, Keyed<C>* to, int64_t* y, Lines lines, int64_t width,
               int64_t total) {
  const int64_t index = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (index >= total) return;
  const int64_t line = index / lines.n, i = index % lines.n;
  const Keyed<C>* keys = from + line * lines.n;
  const Keyed<C> own = keys[i];
  // The other run of the pair; what stands before `own` in it.
  const int64_t pair = i / (2 * width) * 2 * width;
  const int64_t other = i < pair + width ? pair + width : pair;
  int64_t low = other < lines.n ? other : lines.n;
  int64_t high = other + width < lines.n ? other + width : lines.n;
  const int64_t begin = low;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (before(keys[middle], own)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const int64_t place = pair + i % width + (low - begin);
  if (y != nullptr) {
    y[lines.start(line) + place * lines.inner] = own.index;
  } else {
    to[line * lines.n + place] = own;
  }
}

template <class C>
void sort_lines(const View& x, const View& y) {
  const Lines lines{x.shape[1], x.shape[2]};
  const int64_t count = x.shape[0] * lines.inner, runs = ceil_div(lines.n, kSortRun);
  int size = 2;
  while (size < lines.n && size < kSortRun) size *= 2;
  const int threads = size / 2 < kWarp ? kWarp : size / 2;
  const bool one_run = runs == 1;
  const size_t bytes = one_run ? 1 : static_cast<size_t>(count * lines.n) * sizeof(Keyed<C>);
  const Scratch even(bytes), odd(bytes);
  launch(sort_runs<C>, Blocks{count, runs}, threads, static_cast<size_t>(size) * sizeof(Keyed<C>),
         stream(), x.data, x.dtype, lines, size, one_run ? y.as<int64_t>() : nullptr,
         even.as<Keyed<C>>());
  Keyed<C>*from = even.as<Keyed<C>>(), *to = odd.as<Keyed<C>>();
  for (int64_t width = kSortRun; width < lines.n; width *= 2) {
    const bool last = 2 * width >= lines.n;
    launch(merge_runs<C>, ceil_div(count * lines.n, kRowBlock), kRowBlock, 0, stream(), from, to,
           last ? y.as<int64_t>() : nullptr, lines, width, count * lines.n);
    std::swap(from, to);
  }
}

}  // namespace

void argsort(const View& x, const View& y) {
  if (x.numel() == 0) return;
  visit_compute(x.dtype, [&](auto tag) { sort_lines<decltype(tag)>(x, y); });
}

}  // namespace tessera::cuda
