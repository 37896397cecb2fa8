// out = op(in...) element by element, over views of one shape and any strides and dtypes.
// Rule: contiguous operands of one dtype go 16 bytes at a time, everything else one element a
// thread; an element goes through the same arithmetic on both roads, so its bits are the same.
#pragma once

#include <array>

#include "cuda/convert.cuh"
#include "cuda/lane.cuh"
#include "cuda/strided.cuh"

namespace tessera::cuda {

inline constexpr int kMapBlock = 256;
inline constexpr int kMapPerThread = 4;  // elements of the strided road

// op(x[0], ..., x[kIn - 1])
template <int kIn, class Op, class C>
__device__ C apply_op(const Op& op, const C* x) {
  if constexpr (kIn == 0) {
    return op(C(0));
  } else if constexpr (kIn == 1) {
    return op(x[0]);
  } else if constexpr (kIn == 2) {
    return op(x[0], x[1]);
  } else {
    return op(x[0], x[1], x[2]);
  }
}

template <int N>
struct Addresses {
  void* data[N];  // the output first
};
template <int N>
struct Operands {
  void* data[N];  // the output first
  DType dtype[N];
};

template <class Op, class C, class To, class From, int kIn>
__global__ void __launch_bounds__(kMapBlock)
    map_contiguous(Op op, Addresses<kIn + 1> p, int64_t n, bool aligned) {
  constexpr int kCount = 16 / (sizeof(To) < sizeof(From) ? sizeof(To) : sizeof(From));
  const int64_t first = (int64_t{blockIdx.x} * kMapBlock + threadIdx.x) * kCount;
  if (first >= n) return;
  C x[kCount][kIn > 0 ? kIn : 1];
  if (aligned && first + kCount <= n) {
    for (int k = 0; k < kIn; ++k) {
      const auto pack =
          *reinterpret_cast<const Pack<From, kCount>*>(static_cast<From*>(p.data[k + 1]) + first);
      for (int i = 0; i < kCount; ++i) x[i][k] = convert_to<C>(pack.at[i]);
    }
    Pack<To, kCount> out;
    for (int i = 0; i < kCount; ++i) out.at[i] = convert_to<To>(apply_op<kIn>(op, x[i]));
    *reinterpret_cast<Pack<To, kCount>*>(static_cast<To*>(p.data[0]) + first) = out;
    return;
  }
  for (int i = 0; i < kCount && first + i < n; ++i) {
    for (int k = 0; k < kIn; ++k) {
      x[i][k] = convert_to<C>(static_cast<const From*>(p.data[k + 1])[first + i]);
    }
    static_cast<To*>(p.data[0])[first + i] = convert_to<To>(apply_op<kIn>(op, x[i]));
  }
}

template <class Op, class C, int kIn>
__global__ void __launch_bounds__(kMapBlock)
    map_strided(Op op, Operands<kIn + 1> p, Strided<kIn + 1> loops) {
  const int64_t first = int64_t{blockIdx.x} * kMapBlock * kMapPerThread + threadIdx.x;
  for (int i = 0; i < kMapPerThread; ++i) {
    const int64_t index = first + i * kMapBlock;
    if (index >= loops.numel) return;
    const Offsets<kIn + 1> offsets = loops.offsets(index);
    C x[kIn > 0 ? kIn : 1];
    for (int k = 0; k < kIn; ++k) {
      x[k] = load_element<C>(p.data[k + 1], p.dtype[k + 1], offsets.at[k + 1]);
    }
    store_element<C>(p.data[0], p.dtype[0], offsets.at[0], apply_op<kIn>(op, x));
  }
}

template <int N>
bool is_contiguous(const LoopNest<N>& nest) {
  bool contiguous = nest.ndim == 1;
  for (int k = 0; k < N; ++k) contiguous &= nest.stride[k][0] == 1 || nest.numel == 1;
  return contiguous;
}

// One contiguous launch with known types.
template <class C, class To, class From, int kIn, class Op>
void map_flat(const Op& op, const std::array<View, kIn + 1>& views, int64_t n) {
  constexpr int kCount = 16 / (sizeof(To) < sizeof(From) ? sizeof(To) : sizeof(From));
  Addresses<kIn + 1> addresses;
  bool aligned = true;
  for (int k = 0; k <= kIn; ++k) {
    addresses.data[k] = views[k].data;
    aligned &= is_aligned(views[k].data, 16);
  }
  launch(map_contiguous<Op, C, To, From, kIn>, ceil_div(n, int64_t{kMapBlock} * kCount), kMapBlock,
         0, stream(), op, addresses, n, aligned);
}

// views: the output, then the inputs. C is what op computes in.
template <class C, int kIn, class Op>
void map(const Op& op, const std::array<View, kIn + 1>& views) {
  const LoopNest<kIn + 1> nest = collapse<kIn + 1>(views);
  if (nest.numel == 0) return;
  bool same = is_contiguous(nest);
  for (const View& v : views) same &= v.dtype == views[0].dtype;
  if (same && views[0].dtype == DTypeOf<C>::value) {
    return map_flat<C, C, C, kIn>(op, views, nest.numel);
  }
  if constexpr (std::is_same_v<C, float>) {
    if (same && views[0].dtype == DType::kBF16) {
      return map_flat<C, BFloat16, BFloat16, kIn>(op, views, nest.numel);
    }
    if (same && views[0].dtype == DType::kF16) {
      return map_flat<C, Half, Half, kIn>(op, views, nest.numel);
    }
  }
  Operands<kIn + 1> operands;
  for (int k = 0; k <= kIn; ++k) {
    operands.data[k] = views[k].data;
    operands.dtype[k] = views[k].dtype;
  }
  launch(map_strided<Op, C, kIn>, ceil_div(nest.numel, int64_t{kMapBlock} * kMapPerThread),
         kMapBlock, 0, stream(), op, operands, Strided<kIn + 1>(nest));
}

}  // namespace tessera::cuda
