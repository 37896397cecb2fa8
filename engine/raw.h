// Raw ops: check, infer the result's shape, allocate, one backend call. Off the tape.
// Backward passes, optimizers and loaders use these; models use autograd/functions.h. Names ending
// in _ write in place and bump the storage's version: they exist here and nowhere above.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/elementwise.h"
#include "engine/philox.h"
#include "engine/tensor.h"

namespace tessera::raw {

// In place.
void fill_(const Tensor& t, double value);
// src broadcasts to dst and is converted to its dtype. From one device to another dst is contiguous
// and of src's dtype.
void copy_(const Tensor& dst, const Tensor& src);
void add_(const Tensor& dst, const Tensor& src);  // dst += src, of one shape and dtype
void scale_(const Tensor& dst, double factor);

// Copies and conversions.
Tensor contiguous(const Tensor& x);  // x itself when it already is
Tensor clone(const Tensor& x);       // always a new contiguous tensor
Tensor to(const Tensor& x, DType dtype);
Tensor to(const Tensor& x, Device device);

// Elementwise.
Tensor unary(UnaryOp op, const Tensor& x, ScalarArgs args = {});
Tensor unary_backward(UnaryOp op, const Tensor& saved, const Tensor& dy, ScalarArgs args = {});
// The same in dy's place.
void unary_backward_(UnaryOp op, const Tensor& saved, const Tensor& dy, ScalarArgs args = {});
Tensor binary(BinaryOp op, const Tensor& a, const Tensor& b);
struct Pair {
  Tensor first, second;
};
// Gradients in dy's shape; an unwanted one is undefined.
Pair binary_backward(BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& dy, bool want_a,
                     bool want_b);
Tensor compare(CompareOp op, const Tensor& a, const Tensor& b);  // bool
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

// Views: no elements move.
Tensor permute(const Tensor& x, const Dims& dims);
Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1);
Tensor expand(const Tensor& x, const Shape& shape);
Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t stop, int64_t step = 1);
Tensor select(const Tensor& x, int64_t dim, int64_t index);
Tensor flip(const Tensor& x, int64_t dim);
// One size may be -1. A view where the layout allows, else a copy.
Tensor reshape(const Tensor& x, const Shape& shape);
// Sliding windows (N, C, kh, kw, oh, ow) on a padded picture x (N, C, H, W); overlapping view.
Tensor windows2d(const Tensor& x, int64_t kh, int64_t kw, int64_t stride, int64_t dilation);

// Reductions. An empty `dims` means all dimensions.
Tensor sum(const Tensor& x, const Dims& dims, bool keepdim);
// Along the first dimension of x (n, inner), rounded once to `dtype`: gradients of biases.
Tensor sum_rows(const Tensor& x, DType dtype);
Tensor amax(const Tensor& x, const Dims& dims, bool keepdim);
Tensor sum_squares(const Tensor& x);                        // 0-d
Tensor sum_to(const Tensor& x, const Shape& shape);         // undoes broadcasting
Tensor argmax(const Tensor& x, int64_t dim, bool keepdim);  // i64
Tensor cumsum(const Tensor& x, int64_t dim);
Tensor argsort(const Tensor& x, int64_t dim);  // i64, ascending, stable

// Products. matmul follows NumPy: 1-d vectors, broadcast batches.
Tensor matmul(const Tensor& a, const Tensor& b);
// out (M, N) = a (M, K) b (K, N) + beta * out, for a gradient's own slot: out has their dtype or is
// f32.
void gemm_into(const Tensor& a, const Tensor& b, const Tensor& out, double beta);
// x w^T + b; b has their dtype, is f32, or is undefined.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b);

// Indexing.
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& s);
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);  // index 1-d
// Rows of x (B, L, ...) named by ids (B, K): (B, K, ...).
Tensor take_rows(const Tensor& x, const Tensor& ids);
bool in_range(const Tensor& index, int64_t n);  // all in [0, n); waits for the device if it must
Tensor nonzero_rows(const Tensor& mask);  // flat i64 positions of true, row-major; waits for device
Tensor cat(const std::vector<Tensor>& parts, int64_t dim);
Tensor pad2d(const Tensor& x, int64_t left, int64_t right, int64_t top, int64_t bottom,
             double value);

// Random numbers.
Tensor uniform(const Shape& shape, RandomKey key, double low = 0, double high = 1,
               DType dtype = DType::kF32, Device device = Device::kCpu);
Tensor normal(const Shape& shape, RandomKey key, double mean = 0, double deviation = 1,
              DType dtype = DType::kF32, Device device = Device::kCpu);

// Plain structs as a tensor of bytes (n,) u8, for kernels that read them.
Tensor from_bytes(std::span<const std::byte> bytes, Device device);

// The row-major index of the first Inf or NaN, or none.
std::optional<int64_t> first_nonfinite(const Tensor& x);

}  // namespace tessera::raw
