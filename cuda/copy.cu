// Strided copies with conversion, and fills.
// Most of what looks like its own op (cat, pad, roll, patches, transposes) ends here.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

struct Same {
  template <class C>
  __device__ C operator()(C x) const {
    return x;
  }
};

template <class C>
struct Constant {
  C value;
  __device__ C operator()(C) const { return value; }
};

// A tile is read along one dimension and written along the other, 16-bit integers and up as they
// are: each warp reads and writes neighbours.
constexpr int kTile = 32;
constexpr int kTileRows = 8;  // rows that the 256 threads of a block take at once

// The planes (second last, last) of `loops`: columns lie side by side in the destination, rows in
// the source.
template <class T>
__global__ void __launch_bounds__(kTile* kTileRows)
    copy_transposed(const T* src, T* dst, Strided<2> planes, Offsets<2> row_stride,
                    Offsets<2> column_stride, int64_t rows, int64_t columns) {
  const Shared<T> tile = shared_array<T, kTile*(kTile + 1)>();
  const int x = static_cast<int>(threadIdx.x) % kTile, y0 = static_cast<int>(threadIdx.x) / kTile;
  const int64_t row_tiles = (rows + kTile - 1) / kTile;
  const int64_t r0 = blockIdx.x % row_tiles * kTile, c0 = int64_t{blockIdx.y} * kTile;
  const Offsets<2> at = planes.offsets(blockIdx.x / row_tiles);
  for (int y = y0; y < kTile; y += kTileRows) {
    if (r0 + x < rows && c0 + y < columns) {
      tile[y * (kTile + 1) + x] =
          src[at.at[1] + (r0 + x) * row_stride.at[1] + (c0 + y) * column_stride.at[1]];
    }
  }
  __syncthreads();
  for (int y = y0; y < kTile; y += kTileRows) {
    if (r0 + y < rows && c0 + x < columns) {
      dst[at.at[0] + (r0 + y) * row_stride.at[0] + (c0 + x) * column_stride.at[0]] =
          tile[x * (kTile + 1) + y];
    }
  }
}

// Calls visit(T{}) with an unsigned integer of the dtype's size: a copy moves bits.
template <class Visitor>
void visit_bits(DType dtype, Visitor&& visit) {
  switch (size_of(dtype)) {
    case 1:
      return visit(uint8_t{});
    case 2:
      return visit(uint16_t{});
    case 4:
      return visit(uint32_t{});
    default:
      return visit(uint64_t{});
  }
}

// Whether rows lie side by side in the source and columns in the destination.
bool is_transposed(const LoopNest<2>& nest) {
  const int last = nest.ndim - 1;
  return nest.ndim > 1 && nest.stride[0][last] == 1 && nest.stride[1][last - 1] == 1 &&
         nest.stride[1][last] != 1 && nest.shape[last] >= kTile / 2 &&
         nest.shape[last - 1] >= kTile / 2;
}

void copy_transposed_bits(const View& src, const View& dst, const LoopNest<2>& nest) {
  const int last = nest.ndim - 1;
  const int64_t rows = nest.shape[last - 1], columns = nest.shape[last];
  LoopNest<2> planes = nest;
  planes.numel = nest.numel / (rows * columns);
  planes.ndim = nest.ndim - 2;
  const Offsets<2> row_stride{{nest.stride[0][last - 1], nest.stride[1][last - 1]}};
  const Offsets<2> column_stride{{nest.stride[0][last], nest.stride[1][last]}};
  const Blocks grid{planes.numel * ceil_div(rows, kTile), ceil_div(columns, kTile)};
  visit_bits(dst.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(copy_transposed<T>, grid, kTile * kTileRows, 0, stream(), src.as<const T>(), dst.as<T>(),
           Strided<2>(planes), row_stride, column_stride, rows, columns);
  });
}

}  // namespace

void copy(const View& src, const View& dst) {
  const LoopNest<2> nest = collapse<2>({dst, src});
  if (nest.numel == 0) return;
  const bool flat = is_contiguous(nest);
  constexpr int64_t kMostPlanes = int64_t{65535} * kTile;  // of a grid's second dimension
  if (src.dtype == dst.dtype) {
    if (is_transposed(nest) && nest.shape[nest.ndim - 1] < kMostPlanes) {
      return copy_transposed_bits(src, dst, nest);
    }
    if (flat) {
      return visit_bits(dst.dtype, [&](auto tag) {
        using T = decltype(tag);
        map_flat<T, T, T, 1>(Same{}, {dst, src}, nest.numel);
      });
    }
  }
  // Between f32 and its halves: the casts of mixed precision.
  const auto cast = [&]<class To, class From>(To, From) {
    const bool fits = flat && dst.dtype == DTypeOf<To>::value && src.dtype == DTypeOf<From>::value;
    if (fits) map_flat<float, To, From, 1>(Same{}, {dst, src}, nest.numel);
    return fits;
  };
  if (cast(BFloat16{}, float{}) || cast(float{}, BFloat16{}) || cast(Half{}, float{}) ||
      cast(float{}, Half{})) {
    return;
  }
  visit_compute(src.dtype, [&](auto tag) { map<decltype(tag), 1>(Same{}, {dst, src}); });
}

void fill(const View& dst, double value) {
  visit_compute(dst.dtype, [&](auto tag) {
    using C = decltype(tag);
    map<C, 0>(
        Constant<C>{dst.dtype == DType::kBool ? static_cast<C>(value != 0) : static_cast<C>(value)},
        {dst});
  });
}

}  // namespace tessera::cuda
