// GELU of a product's rows and their bias, y = gelu(x + b), and its backward with db.
// Rule: a thread owns neighbouring columns, 16 bytes of them, and walks down the rows of its chunk;
// db is summed over chunks of kChunkRows rows, the chunks as cuda/reduce.cu sums a column: the
// order and so the bits of a sum over the rows of dx.
// Bytes an element in bf16: forward 4 (a product that adds its bias itself, then GELU, move as
// many), backward 6 where GELU's backward and a sum over its result move 8.
#include "cuda/convert.cuh"
#include "cuda/kernels.h"
#include "cuda/lane.cuh"
#include "cuda/strided.cuh"

namespace tessera::cuda {
namespace {

constexpr int kBlock = 128;         // threads; 1024 columns of 16 bits, 512 of f32
constexpr int64_t kRows = 8;        // of one thread, forward
constexpr int64_t kChunkRows = 64;  // of one thread, backward
constexpr int kAtOnce = 4;          // rows read before the first is written

template <class T>
inline constexpr int kColumns = 16 / sizeof(T);  // of one thread

// The columns from `column` on of a row; behind the end of n columns 0.
template <class T>
__device__ Pack<T, kColumns<T>> read(const T* row, int64_t column, int64_t n, bool aligned) {
  if (aligned) return *reinterpret_cast<const Pack<T, kColumns<T>>*>(row + column);
  Pack<T, kColumns<T>> out;
  for (int k = 0; k < kColumns<T>; ++k) out.at[k] = column + k < n ? row[column + k] : T{};
  return out;
}
template <class T>
__device__ void write(T* row, int64_t column, int64_t n, bool aligned,
                      const Pack<T, kColumns<T>>& value) {
  if (aligned) {
    *reinterpret_cast<Pack<T, kColumns<T>>*>(row + column) = value;
    return;
  }
  for (int k = 0; k < kColumns<T> && column + k < n; ++k) row[column + k] = value.at[k];
}

struct Bias {
  const void* data;
  DType dtype;
  int64_t stride;

  explicit Bias(const View& b) : data(b.data), dtype(b.dtype), stride(b.stride[0]) {}
  template <class C, int kCount>
  __device__ void read(int64_t column, int64_t n, C (&out)[kCount]) const {
    for (int k = 0; k < kCount; ++k) {
      out[k] = column + k < n ? load_element<C>(data, dtype, (column + k) * stride) : C(0);
    }
  }
};

template <class C, class T>
__global__ void __launch_bounds__(kBlock)
    bias_gelu_rows(const T* x, Bias b, T* y, int64_t rows, int64_t n, bool aligned) {
  const int64_t column = (int64_t{blockIdx.y} * kBlock + threadIdx.x) * kColumns<T>;
  if (column >= n) return;
  C bias[kColumns<T>];
  b.read(column, n, bias);
  const int64_t first = int64_t{blockIdx.x} * kRows;
  for (int64_t row = first; row < first + kRows && row < rows; ++row) {
    Pack<T, kColumns<T>> v = read(x + row * n, column, n, aligned);
    for (int k = 0; k < kColumns<T>; ++k) {
      const C sum = convert_to<C>(v.at[k]) + bias[k];
      v.at[k] = convert_to<T>(functors::Gelu::f(Lane<C>::of(sum), {}).value);
    }
    write(y + row * n, column, n, aligned, v);
  }
}

// partial (chunks, n): the chunk's sums of dx; nullptr: not wanted. dx may be dy.
template <class C, class T>
__global__ void __launch_bounds__(kBlock)
    bias_gelu_backward_rows(const T* x, Bias b, const T* dy, T* dx, C* partial, int64_t rows,
                            int64_t n, bool aligned) {
  const int64_t column = (int64_t{blockIdx.y} * kBlock + threadIdx.x) * kColumns<T>;
  if (column >= n) return;
  C bias[kColumns<T>], sums[kColumns<T>] = {};
  b.read(column, n, bias);
  const int64_t chunk = blockIdx.x, begin = chunk * kChunkRows;
  const int64_t end = begin + kChunkRows < rows ? begin + kChunkRows : rows;
  for (int64_t first = begin; first < end; first += kAtOnce) {
    Pack<T, kColumns<T>> v[kAtOnce], d[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i >= end) continue;
      v[i] = read(x + (first + i) * n, column, n, aligned);
      d[i] = read(dy + (first + i) * n, column, n, aligned);
    }
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i >= end) continue;
      for (int k = 0; k < kColumns<T>; ++k) {
        const auto sum = Lane<C>::of(convert_to<C>(v[i].at[k]) + bias[k]);
        const C g = functors::Gelu::df(sum, Lane<C>::of(convert_to<C>(d[i].at[k])), {}).value;
        sums[k] += g;
        d[i].at[k] = convert_to<T>(g);
      }
      write(dx + (first + i) * n, column, n, aligned, d[i]);
    }
  }
  if (partial == nullptr) return;
  for (int k = 0; k < kColumns<T> && column + k < n; ++k) partial[chunk * n + column + k] = sums[k];
}

// visit(T{}, C{}) with the type behind a floating dtype and the one it is computed in.
template <class Visitor>
void visit_stored(DType dtype, Visitor&& visit) {
  visit_dtype(dtype, [&](auto tag) {
    using C = typename ComputeOf<decltype(tag)>::type;
    if constexpr (!std::is_same_v<C, int64_t>) visit(tag, C{});
  });
}

template <class T>
Blocks grid_of(int64_t pieces, int64_t n) {
  return {pieces, ceil_div(n, int64_t{kBlock} * kColumns<T>)};
}

bool all_aligned(int64_t n, const View& x, const View& y, const View& z) {
  return n * static_cast<int64_t>(size_of(x.dtype)) % 16 == 0 && is_aligned(x.data, 16) &&
         is_aligned(y.data, 16) && is_aligned(z.data, 16);
}

}  // namespace

void bias_gelu(const View& x, const View& b, const View& y) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  visit_stored(x.dtype, [&](auto stored, auto computed) {
    using T = decltype(stored);
    using C = decltype(computed);
    launch(bias_gelu_rows<C, T>, grid_of<T>(ceil_div(rows, kRows), n), kBlock, 0, stream(),
           x.as<const T>(), Bias(b), y.as<T>(), rows, n, all_aligned(n, x, y, y));
  });
}

void bias_gelu_backward(const View& x, const View& b, const View& dy, const View& dx,
                        const View& db) {
  const int64_t rows = x.shape[0], n = x.shape[1], chunks = ceil_div(rows, kChunkRows);
  const bool wanted = db.data != nullptr;
  if (wanted && rows == 0) fill(db, 0);
  if (rows * n == 0) return;
  visit_stored(x.dtype, [&](auto stored, auto computed) {
    using T = decltype(stored);
    using C = decltype(computed);
    const Scratch partial(wanted ? static_cast<size_t>(chunks * n) * sizeof(C) : 1);
    C* const sums = wanted ? partial.as<C>() : nullptr;
    launch(bias_gelu_backward_rows<C, T>, grid_of<T>(chunks, n), kBlock, 0, stream(),
           x.as<const T>(), Bias(b), dy.as<const T>(), dx.as<T>(), sums, rows, n,
           all_aligned(n, x, dy, dx));
    if (!wanted) return;
    reduce(ReduceOp::kSum, {sums, DTypeOf<C>::value, 3, {1, chunks, n}, {chunks * n, n, 1}},
           {db.data, db.dtype, 2, {1, n}, {n, 1}});
  });
}

}  // namespace tessera::cuda
