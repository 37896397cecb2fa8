// Gather and scatter-add along the middle of a contiguous (outer, n, inner).
// Rule: additions to one element happen in one thread, j ascending; no atomics. Where columns are
// many, a thread owns a column, or where whole rows are added a run of columns, and walks j; where
// they are few, the positions are sorted by what they point at, and a thread owns an element of x.
#include "cuda/group.cuh"
#include "cuda/kernels.h"
#include "engine/index_view.h"

namespace tessera::cuda {
namespace {

constexpr int kAtOnce = 8;  // rows that are read before the first is added
constexpr int kColumnBlock =
    64;  // threads: few, so that 256 pictures of 512 columns make 256 blocks

// T: an integer of the element's size, or 16 bytes of a row.
template <class T>
__global__ void __launch_bounds__(kRowBlock)
    gather_elements(const T* x, IndexView index, T* y, int64_t n, int64_t k, int64_t inner,
                    int64_t total) {
  const int64_t at = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (at >= total) return;
  const int64_t i = at % inner, row = at / inner, o = row / k, j = row % k;
  y[at] = x[(o * n + index.at(o, j, i)) * inner + i];
}

template <class C>
__global__ void __launch_bounds__(kRowBlock)
    scatter_columns(const void* s, IndexView index, void* x, DType dtype, int64_t n, int64_t k,
                    int64_t inner, int64_t columns) {
  const int64_t column = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (column >= columns) return;
  const int64_t o = column / inner, i = column % inner;
  for (int64_t j = 0; j < k; ++j) {
    const int64_t to = (o * n + index.at(o, j, i)) * inner + i;
    const C sum =
        load_element<C>(x, dtype, to) + load_element<C>(s, dtype, (o * k + j) * inner + i);
    store_element<C>(x, dtype, to, sum);
  }
}

// The same where the index does not vary along inner.
template <class C>
__global__ void __launch_bounds__(kColumnBlock)
    scatter_rows(Rows s, IndexView index, Rows x, int64_t n, int64_t k, int64_t runs,
                 int64_t count) {
  const int64_t at = int64_t{blockIdx.x} * kColumnBlock + threadIdx.x;
  if (at >= count) return;
  const int64_t o = at / runs, i = at % runs * kRun;
  for (int64_t first = 0; first < k; first += kAtOnce) {
    Run<C> more[kAtOnce];
    int64_t to[kAtOnce];
    TESSERA_UNROLL
    for (int j = 0; j < kAtOnce; ++j) {
      if (first + j >= k) continue;
      more[j] = read_run<C>(s, o * k + first + j, i);
      to[j] = o * n + index.at(o, first + j, 0);
    }
    TESSERA_UNROLL
    for (int j = 0; j < kAtOnce; ++j) {
      if (first + j >= k) continue;
      Run<C> sum = read_run<C>(x, to[j], i);
      for (int e = 0; e < kRun; ++e) sum.at[e] += more[j].at[e];
      write_run(x, to[j], i, sum);
    }
  }
}

// The first of order[0 .. k) whose index is not below `value`.
__device__ int64_t lower_bound(const IndexView& index, const int64_t* order, int64_t o, int64_t k,
                               int64_t value) {
  int64_t low = 0, high = k;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (index.at(o, order[middle], 0) < value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// order (outer or 1, k): the positions j sorted by index, equal ones ascending; one line for all
// where the index does not vary along outer. It does not vary along inner.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    scatter_sorted(const void* s, IndexView index, const int64_t* order, void* x, DType dtype,
                   int64_t n, int64_t k, int64_t inner, int64_t total) {
  const int64_t at = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (at >= total) return;
  const int64_t i = at % inner, row = at / inner, o = row / n, r = row % n;
  const int64_t* sorted = order + (index.outer == 0 ? 0 : o * k);
  int64_t j = lower_bound(index, sorted, o, k, r);
  if (j == k || index.at(o, sorted[j], 0) != r) return;
  C sum = load_element<C>(x, dtype, at);
  for (; j < k && index.at(o, sorted[j], 0) == r; ++j) {
    sum += load_element<C>(s, dtype, (o * k + sorted[j]) * inner + i);
  }
  store_element<C>(x, dtype, at, sum);
}

__global__ void __launch_bounds__(kRowBlock)
    find_outside(const int64_t* index, Strided<1> loops, int64_t n, int* outside) {
  const int64_t i = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (i >= loops.numel) return;
  const int64_t value = index[loops.offsets(i).at[0]];
  if (value < 0 || value >= n) atomicExch(outside, 1);
}

struct alignas(16) Sixteen {
  uint64_t low, high;
};

template <class T>
void gather_as(const View& x, const IndexView& index, const View& y, int64_t inner) {
  const int64_t n = x.shape[1], k = y.shape[1], total = y.shape[0] * k * inner;
  launch(gather_elements<T>, ceil_div(total, kRowBlock), kRowBlock, 0, stream(), x.as<const T>(),
         index, y.as<T>(), n, k, inner, total);
}

}  // namespace

void gather(const View& x, const View& index, const View& y) {
  const auto size = static_cast<int64_t>(size_of(x.dtype));
  const int64_t inner = y.shape[2], bytes = inner * size;
  const IndexView idx(index);
  const bool whole_rows = idx.inner == 0 || inner == 1;
  if (whole_rows && bytes % 16 == 0 && is_aligned(x.data, 16) && is_aligned(y.data, 16)) {
    return gather_as<Sixteen>(x, idx, y, bytes / 16);
  }
  switch (size) {
    case 1:
      return gather_as<uint8_t>(x, idx, y, inner);
    case 2:
      return gather_as<uint16_t>(x, idx, y, inner);
    case 4:
      return gather_as<uint32_t>(x, idx, y, inner);
    default:
      return gather_as<uint64_t>(x, idx, y, inner);
  }
}

void scatter_add(const View& s, const View& index, const View& x) {
  const int64_t outer = s.shape[0], n = x.shape[1], k = s.shape[1], inner = s.shape[2];
  const IndexView idx(index);
  // A walk over k takes about 0.5 us a step, whatever runs beside it; sorting pays when it is long
  // and little runs beside it.
  const bool few_columns = k > 256 && outer * inner < 16384;
  const bool sorted = few_columns && (idx.inner == 0 || inner == 1);
  const int64_t lines = idx.outer == 0 ? 1 : outer;
  const Scratch scratch(sorted ? static_cast<size_t>(lines * k) * sizeof(int64_t) * 2 : 1);
  auto* const order = scratch.as<int64_t>();
  if (sorted) {
    const View keys{index.data, DType::kI64, 2, {lines, k}, {idx.outer, idx.middle}};
    const View packed{order + lines * k, DType::kI64, 2, {lines, k}, {k, 1}};
    copy(keys, packed);
    argsort({packed.data, DType::kI64, 3, {lines, k, 1}, {k, 1, 1}},
            {order, DType::kI64, 3, {lines, k, 1}, {k, 1, 1}});
  }
  visit_compute(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    if (sorted) {
      const int64_t total = outer * n * inner;
      return launch(scatter_sorted<C>, ceil_div(total, kRowBlock), kRowBlock, 0, stream(), s.data,
                    idx, order, x.data, x.dtype, n, k, inner, total);
    }
    if (idx.inner == 0 && inner > 1) {
      const int64_t runs = ceil_div(inner, kRun), count = outer * runs;
      return launch(scatter_rows<C>, ceil_div(count, kColumnBlock), kColumnBlock, 0, stream(),
                    Rows(s, inner), idx, Rows(x, inner), n, k, runs, count);
    }
    const int64_t columns = outer * inner;
    launch(scatter_columns<C>, ceil_div(columns, kRowBlock), kRowBlock, 0, stream(), s.data, idx,
           x.data, x.dtype, n, k, inner, columns);
  });
}

bool index_in_range(const View& index, int64_t n) {
  const LoopNest<1> nest = collapse<1>({index});
  const Scratch found(sizeof(int));
  int outside = 0;
  copy_from_host(found.as<void>(), &outside, sizeof(outside));
  launch(find_outside, ceil_div(nest.numel, kRowBlock), kRowBlock, 0, stream(),
         index.as<const int64_t>(), Strided<1>(nest), n, found.as<int>());
  copy_to_host(&outside, found.as<void>(), sizeof(outside));
  return outside == 0;
}

}  // namespace tessera::cuda
