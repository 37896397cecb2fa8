// Threads that work on one row together: a warp for short rows, a block for long ones; and a row
// read in runs of eight elements, 16 bytes of a 16-bit type.
// Rule: which element a thread takes and the order in which partial results meet follow from the
// row's length alone, so a sum has the same bits every time and at every address.
#pragma once

#include "cuda/convert.cuh"
#include "cuda/lane.cuh"
#include "cuda/strided.cuh"

namespace tessera::cuda {

inline constexpr int kRowBlock = 256;  // threads of a block, whatever a group is
inline constexpr int kRun = 8;         // elements of a row that a thread reads at once

struct Sum {
  template <class C>
  __device__ C operator()(C a, C b) const {
    return a + b;
  }
};
// The larger; which one comes out where one is NaN is not said.
struct Larger {
  template <class C>
  __device__ C operator()(C a, C b) const {
    return a < b ? b : a;
  }
};

// What lane (own xor distance) holds. Overload it for what is more than one number.
template <class T>
__device__ T shuffle_xor(T x, int distance) {
  return __shfl_xor_sync(kWholeWarp, x, distance);
}

// x of the 32 lanes, combined; every lane has the result.
template <class C, class Combine>
__device__ C reduce_warp(C x, Combine combine) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    // The lower lane's value first, on both sides: combine need not be symmetric.
    const C other = shuffle_xor(x, distance);
    x = (threadIdx.x & distance) == 0 ? combine(x, other) : combine(other, x);
  }
  return x;
}

// The same over a group of kWidth threads, a warp or the whole block.
template <int kWidth, class C, class Combine>
__device__ C reduce_group(C x, Combine combine) {
  static_assert(kWidth % kWarp == 0);
  x = reduce_warp(x, combine);
  if constexpr (kWidth > kWarp) {
    constexpr int kWarps = kWidth / kWarp;
    const Shared<C> partial = shared_array<C, kWarps>();
    if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = x;
    __syncthreads();
    x = partial[0];
    for (int w = 1; w < kWarps; ++w) x = combine(x, static_cast<C>(partial[w]));
    __syncthreads();  // the next reduction writes there again
  }
  return x;
}

// The group's place: which of all rows, and which of its threads this is.
template <int kWidth, int kBlock = kRowBlock>
struct Group {
  static_assert(kWidth == kWarp || kWidth == kBlock);
  int64_t row = (int64_t{blockIdx.x} * kBlock + threadIdx.x) / kWidth;
  int thread = static_cast<int>(threadIdx.x % kWidth);

  template <class C>
  __device__ C sum(C x) const {
    return reduce_group<kWidth>(x, Sum{});
  }
  template <class C>
  __device__ C max(C x) const {
    return reduce_group<kWidth>(x, Larger{});
  }
  // body(i) for the first element of each run that is this thread's.
  template <class Body>
  __device__ void for_each_run(int64_t n, Body body) const {
    for (int64_t i = int64_t{thread} * kRun; i < n; i += int64_t{kWidth} * kRun) body(i);
  }
};

// Rows of a contiguous (rows, n) of a dtype known at run time.
struct Rows {
  void* data;
  DType dtype;
  int64_t n;
  bool aligned;  // runs can be read at once

  Rows(const View& v, int64_t n)
      : data(v.data), dtype(v.dtype), n(n), aligned(n % kRun == 0 && is_aligned(v.data, 16)) {}
  __device__ Rows(void* data, DType dtype, int64_t n, bool aligned)
      : data(data), dtype(dtype), n(n), aligned(aligned) {}
};

template <class C, int kCount = kRun>
struct Run {
  C at[kCount];
};

template <class T, class C, int kCount>
__device__ Run<C, kCount> load_run(const Rows& x, int64_t row, int64_t i, C fill) {
  const T* p = static_cast<const T*>(x.data) + row * x.n + i;
  Run<C, kCount> out;
  if (x.aligned) {
    const auto pack = *reinterpret_cast<const Pack<T, kCount>*>(p);
    for (int k = 0; k < kCount; ++k) out.at[k] = convert_to<C>(pack.at[k]);
  } else {
    for (int k = 0; k < kCount; ++k) out.at[k] = i + k < x.n ? convert_to<C>(p[k]) : fill;
  }
  return out;
}

// Elements i .. i + kCount - 1 of a row; those behind its end are `fill`. Half a run where all is
// f32: 16 bytes of neighbours by neighbouring threads.
template <class C, int kCount = kRun>
__device__ Run<C, kCount> read_run(const Rows& x, int64_t row, int64_t i, C fill = C(0)) {
  if constexpr (std::is_same_v<C, double>) {
    return load_run<double, C, kCount>(x, row, i, fill);
  } else if constexpr (std::is_same_v<C, int64_t>) {
    Run<C, kCount> out;
    for (int k = 0; k < kCount; ++k) {
      out.at[k] = i + k < x.n ? load_element<C>(x.data, x.dtype, row * x.n + i + k) : fill;
    }
    return out;
  } else {
    if (x.dtype == DType::kF32) return load_run<float, C, kCount>(x, row, i, fill);
    if (x.dtype == DType::kBF16) return load_run<BFloat16, C, kCount>(x, row, i, fill);
    return load_run<Half, C, kCount>(x, row, i, fill);
  }
}

template <class T, class C, int kCount>
__device__ void store_run(const Rows& y, int64_t row, int64_t i, const Run<C, kCount>& value) {
  T* p = static_cast<T*>(y.data) + row * y.n + i;
  if (y.aligned) {
    Pack<T, kCount> pack;
    for (int k = 0; k < kCount; ++k) pack.at[k] = convert_to<T>(value.at[k]);
    *reinterpret_cast<Pack<T, kCount>*>(p) = pack;
  } else {
    for (int k = 0; k < kCount && i + k < y.n; ++k) p[k] = convert_to<T>(value.at[k]);
  }
}

template <class C, int kCount>
__device__ void write_run(const Rows& y, int64_t row, int64_t i, const Run<C, kCount>& value) {
  if constexpr (std::is_same_v<C, double>) {
    store_run<double>(y, row, i, value);
  } else if constexpr (std::is_same_v<C, int64_t>) {
    for (int k = 0; k < kCount && i + k < y.n; ++k) {
      store_element<C>(y.data, y.dtype, row * y.n + i + k, value.at[k]);
    }
  } else {
    if (y.dtype == DType::kF32) return store_run<float>(y, row, i, value);
    if (y.dtype == DType::kBF16) return store_run<BFloat16>(y, row, i, value);
    store_run<Half>(y, row, i, value);
  }
}

// The largest element; NaN among them may or may not come out.
template <class C, int kWidth>
__device__ C row_max(const Group<kWidth>& group, const Rows& x) {
  const C lowest = -static_cast<C>(INFINITY);
  C best = lowest;
  group.for_each_run(x.n, [&](int64_t i) {
    for (const C e : read_run<C>(x, group.row, i, lowest).at) best = Larger{}(best, e);
  });
  return group.max(best);
}

// The sum of exp(x - top).
template <class C, int kWidth>
__device__ C row_exp_sum(const Group<kWidth>& group, const Rows& x, C top) {
  C sum = 0;
  group.for_each_run(x.n, [&](int64_t i) {
    for (const C e : read_run<C>(x, group.row, i, -static_cast<C>(INFINITY)).at) {
      sum += exp_of(e - top);
    }
  });
  return group.sum(sum);
}

// A vector of any dtype and stride; data == nullptr stands for a constant.
struct Vector {
  void* data;
  DType dtype;
  int64_t stride;
  bool aligned;  // runs can be read at once

  explicit Vector(const View& v)
      : data(v.data),
        dtype(v.dtype),
        stride(v.stride[0]),
        aligned(v.data != nullptr && stride == 1 && is_aligned(v.data, 16)) {}
};

template <class C>
__device__ C read_element(const Vector& v, int64_t i) {
  return load_element<C>(v.data, v.dtype, i * v.stride);
}
template <class C>
__device__ void write_element(const Vector& v, int64_t i, C value) {
  store_element<C>(v.data, v.dtype, i * v.stride, value);
}
// Elements i .. i + kRun - 1 of n; `otherwise` where there is no vector or it has ended.
template <class C>
__device__ Run<C> read_run(const Vector& v, int64_t i, int64_t n, C otherwise) {
  if (v.aligned && i + kRun <= n) return read_run<C>(Rows(v.data, v.dtype, n, true), 0, i);
  Run<C> out;
  for (int k = 0; k < kRun; ++k) {
    out.at[k] = v.data != nullptr && i + k < n ? read_element<C>(v, i + k) : otherwise;
  }
  return out;
}

// Row kernels run with a warp a row up to 1024 elements, a block a row beyond; kernels are
// templates over the group's width.
inline bool takes_block(int64_t n) { return n > 1024; }
inline int64_t row_blocks(int64_t rows, int64_t n) {
  return takes_block(n) ? rows : ceil_div(rows, kRowBlock / kWarp);
}

// How many rows of which length, and where in the source the launch stands.
struct RowGrid {
  RowGrid(int64_t rows, int64_t n, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : rows(rows), n(n), blocks(row_blocks(rows, n), file, line) {}

  int64_t rows, n;
  Grid blocks;
};

// Queues one kernel in the width that suits the rows' length. Its last argument is their number.
template <class Kernel, class... Arguments>
void launch_rows(const RowGrid& grid, Kernel* by_block, Kernel* by_warp, Arguments&&... arguments) {
  launch(takes_block(grid.n) ? by_block : by_warp, grid.blocks, kRowBlock, 0, stream(),
         std::forward<Arguments>(arguments)..., grid.rows);
}

}  // namespace tessera::cuda
