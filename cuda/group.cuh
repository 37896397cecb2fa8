// Threads that work on one row together: a warp for short rows, a block for long ones; and a row
// read four elements at a time.
// Rule: which element a thread takes and the order in which partial results meet follow from the
// row's length alone, so a sum has the same bits every time and at every address.
#pragma once

#include "cuda/convert.cuh"
#include "cuda/lane.cuh"
#include "cuda/strided.cuh"

namespace tessera::cuda {

inline constexpr int kRowBlock = 256;  // threads of a block, whatever a group is

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
  static_assert(kWidth == kWarp || kWidth == kRowBlock);
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
template <int kWidth>
struct Group {
  int64_t row = (int64_t{blockIdx.x} * kRowBlock + threadIdx.x) / kWidth;
  int thread = static_cast<int>(threadIdx.x % kWidth);

  template <class C>
  __device__ C sum(C x) const {
    return reduce_group<kWidth>(x, Sum{});
  }
  template <class C>
  __device__ C max(C x) const {
    return reduce_group<kWidth>(x, Larger{});
  }
  // body(i) for the first element of each four that are this thread's.
  template <class Body>
  __device__ void for_each_four(int64_t n, Body body) const {
    for (int64_t i = int64_t{thread} * 4; i < n; i += int64_t{kWidth} * 4) body(i);
  }
};

// Rows of a contiguous (rows, n) of a dtype known at run time.
struct Rows {
  void* data;
  DType dtype;
  int64_t n;
  bool aligned;  // fours can be read at once

  Rows(const View& v, int64_t n)
      : data(v.data),
        dtype(v.dtype),
        n(n),
        aligned(n % 4 == 0 && is_aligned(v.data, 4 * size_of(v.dtype))) {}
  __device__ Rows(void* data, DType dtype, int64_t n, bool aligned)
      : data(data), dtype(dtype), n(n), aligned(aligned) {}
};

template <class C>
struct Four {
  C at[4];
};

template <class T, class C>
__device__ Four<C> load_four(const Rows& x, int64_t row, int64_t i, C fill) {
  const T* p = static_cast<const T*>(x.data) + row * x.n + i;
  Four<C> out;
  if (x.aligned) {
    const auto pack = *reinterpret_cast<const Pack<T, 4>*>(p);
    for (int k = 0; k < 4; ++k) out.at[k] = convert_to<C>(pack.at[k]);
  } else {
    for (int k = 0; k < 4; ++k) out.at[k] = i + k < x.n ? convert_to<C>(p[k]) : fill;
  }
  return out;
}

// Elements i .. i + 3 of a row; those behind its end are `fill`.
template <class C>
__device__ Four<C> read_four(const Rows& x, int64_t row, int64_t i, C fill = C(0)) {
  if constexpr (std::is_same_v<C, double>) {
    return load_four<double>(x, row, i, fill);
  } else if constexpr (std::is_same_v<C, int64_t>) {
    Four<C> out;
    for (int k = 0; k < 4; ++k) {
      out.at[k] = i + k < x.n ? load_element<C>(x.data, x.dtype, row * x.n + i + k) : fill;
    }
    return out;
  } else {
    if (x.dtype == DType::kF32) return load_four<float>(x, row, i, fill);
    if (x.dtype == DType::kBF16) return load_four<BFloat16>(x, row, i, fill);
    return load_four<Half>(x, row, i, fill);
  }
}

template <class T, class C>
__device__ void store_four(const Rows& y, int64_t row, int64_t i, const Four<C>& value) {
  T* p = static_cast<T*>(y.data) + row * y.n + i;
  if (y.aligned) {
    Pack<T, 4> pack;
    for (int k = 0; k < 4; ++k) pack.at[k] = convert_to<T>(value.at[k]);
    *reinterpret_cast<Pack<T, 4>*>(p) = pack;
  } else {
    for (int k = 0; k < 4 && i + k < y.n; ++k) p[k] = convert_to<T>(value.at[k]);
  }
}

template <class C>
__device__ void write_four(const Rows& y, int64_t row, int64_t i, const Four<C>& value) {
  if constexpr (std::is_same_v<C, double>) {
    store_four<double>(y, row, i, value);
  } else {
    if (y.dtype == DType::kF32) return store_four<float>(y, row, i, value);
    if (y.dtype == DType::kBF16) return store_four<BFloat16>(y, row, i, value);
    store_four<Half>(y, row, i, value);
  }
}

// The largest element; NaN among them may or may not come out.
template <class C, int kWidth>
__device__ C row_max(const Group<kWidth>& group, const Rows& x) {
  const C lowest = -static_cast<C>(INFINITY);
  C best = lowest;
  group.for_each_four(x.n, [&](int64_t i) {
    for (const C e : read_four<C>(x, group.row, i, lowest).at) best = Larger{}(best, e);
  });
  return group.max(best);
}

// The sum of exp(x - top).
template <class C, int kWidth>
__device__ C row_exp_sum(const Group<kWidth>& group, const Rows& x, C top) {
  C sum = 0;
  group.for_each_four(x.n, [&](int64_t i) {
    for (const C e : read_four<C>(x, group.row, i, -static_cast<C>(INFINITY)).at) {
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
  bool aligned;  // fours can be read at once

  explicit Vector(const View& v)
      : data(v.data),
        dtype(v.dtype),
        stride(v.stride[0]),
        aligned(v.data != nullptr && stride == 1 && is_aligned(v.data, 4 * size_of(v.dtype))) {}
};

template <class C>
__device__ C read_element(const Vector& v, int64_t i) {
  return load_element<C>(v.data, v.dtype, i * v.stride);
}
template <class C>
__device__ void write_element(const Vector& v, int64_t i, C value) {
  store_element<C>(v.data, v.dtype, i * v.stride, value);
}
// Elements i .. i + 3 of n; `otherwise` where there is no vector or it has ended.
template <class C>
__device__ Four<C> read_four(const Vector& v, int64_t i, int64_t n, C otherwise) {
  if (v.aligned && i + 4 <= n) return read_four<C>(Rows(v.data, v.dtype, n, true), 0, i);
  Four<C> out;
  for (int k = 0; k < 4; ++k) {
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
