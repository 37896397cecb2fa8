// Attention on tensor cores, what forward and backward share: a head's rows in shared memory, and
// their products with the 16 rows that a warp has.
// Rule: a tile is 16 rows of a warp by 32 columns, or 16 where registers are short. Dimensions are
// padded to kDims and rows to whole tiles with zeros, which add nothing; what a column behind the
// last must not count for is the kernels' to say.
#pragma once

#include "cuda/attention.cuh"
#include "cuda/mma.cuh"

namespace tessera::cuda {

inline constexpr int kTileRows = 16;     // what one mma.sync multiplies
inline constexpr int kTileColumns = 32;  // two blocks
inline constexpr int kMostWarps = 8;
inline constexpr int kMostTileDims = 128;
inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

__host__ __device__ inline int64_t whole_tiles(int64_t rows) {
  return (rows + kTileColumns - 1) / kTileColumns * kTileColumns;
}

// Warps for so many rows: as few as need no more rounds than kMostWarps would. 197 rows are 13
// tiles: 7 warps, 2 rounds.
inline int64_t warps_for(int64_t rows) {
  const int64_t tiles = ceil_div(rows, kTileRows);
  return ceil_div(tiles, ceil_div(tiles, kMostWarps));
}

// Shared memory of a block that keeps `rows` rows of two arrays, and of each of its warps' rows
// `own` arrays.
inline size_t panel_bytes(int64_t d, int64_t rows, int64_t warps, int64_t own) {
  const int64_t pieces = ceil_div(d, 16) * 2 + 1;
  return static_cast<size_t>((2 * whole_tiles(rows) + own * warps * kTileRows) * pieces) *
         sizeof(Piece);
}

// Calls visit(std::integral_constant<int, kDims>{}) with d padded to 16.
template <int kDims = 16, class Visitor>
void visit_dims(int64_t d, Visitor&& visit) {
  if constexpr (kDims < kMostTileDims) {
    if (d > kDims) return visit_dims<kDims + 16>(d, visit);
  }
  visit(std::integral_constant<int, kDims>{});
}

// Calls visit(T{}, std::integral_constant<int, kDims>{}).
template <class Visitor>
void visit_tiles(DType dtype, int64_t d, Visitor&& visit) {
  visit_dims(
      d, [&](auto dims) { dtype == DType::kF16 ? visit(Half{}, dims) : visit(BFloat16{}, dims); });
}

// The rows of one head in global memory.
struct HeadRows {
  uint16_t* first;
  int64_t stride;
  int count, d;
  bool aligned;  // in pieces

  __device__ HeadRows(const Heads& x, int64_t b, int64_t h, int64_t count, int64_t d)
      : first(static_cast<uint16_t*>(x.data) + x.row(b, h, 0)),
        stride(x.stride[2]),
        count(static_cast<int>(count)),
        d(static_cast<int>(d)),
        aligned(d % 8 == 0 && stride % 8 == 0 && reinterpret_cast<uintptr_t>(first) % 16 == 0) {}

  __device__ bool has(int row, int dim) const { return row < count && dim < d; }
  __device__ uint16_t* at(int row, int dim) const { return first + row * stride + dim; }

  // Eight elements, 0 where there are none.
  __device__ Piece read(int row, int dim) const {
    Piece piece = {};
    for (int e = 0; e < 8; ++e) {
      if (has(row, dim + e)) piece.pair[e / 2] |= uint32_t{*at(row, dim + e)} << (16 * (e % 2));
    }
    return piece;
  }
  // The other way; what the head does not have is left out.
  __device__ void write(int row, int dim, const Piece& piece) const {
    if (aligned) {
      if (has(row, dim)) *reinterpret_cast<Piece*>(at(row, dim)) = piece;
      return;
    }
    for (int e = 0; e < 8; ++e) {
      if (has(row, dim + e)) {
        *at(row, dim + e) = static_cast<uint16_t>(piece.pair[e / 2] >> (16 * (e % 2)));
      }
    }
  }
};

// Rows of a head in shared memory. A row takes one piece more than it has: the eight rows that
// ldmatrix reads at once then begin in eight different groups of banks.
template <int kDims>
class Panel {
 public:
  static constexpr int kPieces = kDims / 8, kStride = kPieces + 1;
  static constexpr size_t kRowBytes = kStride * sizeof(Piece);

  __device__ explicit Panel(int first_row) : first_(first_row * kStride) {}

  // Rows first .. first + rows of x, by `threads` threads; wait_for_copies() and a barrier follow.
  __device__ void load(const HeadRows& x, int first, int rows, int thread, int threads) const {
    for (int p = thread; p < rows * kPieces; p += threads) {
      const int row = p / kPieces, piece = p % kPieces, at = place(row, piece);
      if (x.aligned && x.has(first + row, piece * 8)) {
        copy_async(memory(), at, x.at(first + row, piece * 8));
      } else {
        memory()[at] = x.read(first + row, piece * 8);
      }
    }
  }

  template <class T>
  __device__ Block<T> block(int row, int step) const {
    return load_block<false, T>(memory(), place(row, step * 2), kStride);
  }
  template <class T>
  __device__ Block<T> turned_block(int row, int step) const {
    return load_block<true, T>(memory(), place(row, step * 2), kStride);
  }
  __device__ Piece piece(int row, int at) const { return memory()[place(row, at)]; }

  // Replaces the warp's own 16 rows by sums * factor, the two factors those of a lane's two rows,
  // and writes them to rows first .. of y.
  template <class T>
  __device__ void write(const HeadRows& y, int first, const Sums (&sums)[kPieces], float upper,
                        float lower) const {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const Shared<uint32_t> pairs = dynamic_shared<uint32_t>();
    __syncwarp();  // what lies there has been read
    for (int t = 0; t < kPieces; ++t) {
      const auto& x = sums[t].x;
      const int at = place(sums_row(0), t) * 4 + lane % 4;
      pairs[at] = pack<T>(x[0] * upper, x[1] * upper);
      pairs[at + 8 * kStride * 4] = pack<T>(x[2] * lower, x[3] * lower);
    }
    __syncwarp();
    for (int p = lane; p < kTileRows * kPieces; p += kWarp) {
      y.write(first + p / kPieces, p % kPieces * 8, piece(p / kPieces, p % kPieces));
    }
    __syncwarp();  // the next rows may be loaded
  }

 private:
  static __device__ Shared<Piece> memory() { return dynamic_shared<Piece>(); }
  __device__ int place(int row, int piece) const { return first_ + row * kStride + piece; }

  int first_;  // piece
};

// A warp's 16 rows as left operand: kept in registers, or read again for each tile.
template <class T, int kDims, bool kKept>
class OwnRows {
 public:
  __device__ explicit OwnRows(const Panel<kDims>& panel) : panel_(panel) {
    if constexpr (kKept) {
      for (int step = 0; step < kDims / 16; ++step) kept_[step] = panel.template block<T>(0, step);
    }
  }
  __device__ Block<T> block(int step) const {
    if constexpr (kKept) {
      return kept_[step];
    } else {
      return panel_.template block<T>(0, step);
    }
  }

 private:
  Panel<kDims> panel_;
  Block<T> kept_[kKept ? kDims / 16 : 1];
};

// tile (16, 8 kCount) += the warp's rows times the panel's rows from `first` on, each with each.
template <int kCount, class T, int kDims, bool kKept>
__device__ void multiply_by_rows(Sums (&tile)[kCount], const OwnRows<T, kDims, kKept>& rows,
                                 const Panel<kDims>& panel, int first) {
  for (int step = 0; step < kDims / 16; ++step) {
    const Block<T> a = rows.block(step);
    for (int t = 0; t < kCount; t += 2) {
      multiply_by_rows(tile[t], tile[t + 1], a, panel.template block<T>(first + 8 * t, step));
    }
  }
}

// sums (16, kDims) += tile (16, 8 kCount), rounded to T, times the panel's rows from `first` on.
template <class T, int kDims, int kCount>
__device__ void multiply_by_columns(Sums (&sums)[kDims / 8], const Sums (&tile)[kCount],
                                    const Panel<kDims>& panel, int first) {
  for (int t = 0; t < kCount; t += 2) {
    const Block<T> a = as_block<T>(tile[t], tile[t + 1]);
    for (int step = 0; step < kDims / 16; ++step) {
      multiply_by_columns(sums[2 * step], sums[2 * step + 1], a,
                          panel.template turned_block<T>(first + 8 * t, step));
    }
  }
}

// What q k^T becomes before exp2: scores in base two, one fma each.
template <class T>
struct BaseTwo {
  const char* bias;  // of this head; nullptr: none
  bool wide;         // it is f32, else T
  int row_stride, column_stride, n, m;
  float scale;

  __device__ BaseTwo(const AttentionProblem& a, int64_t b, int64_t h)
      : bias(nullptr),
        wide(a.bias.dtype == DType::kF32),
        row_stride(static_cast<int>(a.bias.stride[2])),
        column_stride(static_cast<int>(a.bias.stride[3])),
        n(static_cast<int>(a.n)),
        m(static_cast<int>(a.m)),
        scale(static_cast<float>(a.scale) * kLog2E) {
    if (a.bias.data != nullptr) {
      bias = static_cast<const char*>(a.bias.data) +
             a.bias.row(b, h, 0) * static_cast<int64_t>(wide ? sizeof(float) : sizeof(T));
    }
  }
  __device__ float operator()(float product, int i, int j) const {
    float addend = 0;
    if (bias != nullptr && i < n && j < m) {
      const int at = i * row_stride + j * column_stride;
      addend = wide ? reinterpret_cast<const float*>(bias)[at]
                    : convert_to<float>(reinterpret_cast<const T*>(bias)[at]);
    }
    return fma_of(product, scale, addend * kLog2E);
  }
};

}  // namespace tessera::cuda
