// The op API that everything above autograd sees: differentiable functions of tensors.
// Rule: nothing here works in place, and nothing detaches silently. Each structured op is one
// struct in an ops_*.cc (forward and backward side by side); elementwise ops come from the table in
// engine/elementwise.h; the rest are compositions. Every function has a row in the op table
// (tests/ops). Shapes broadcast as in NumPy; dtypes never mix silently: an error names op, dtypes
// and shapes. `dim` counts from the end when negative.
#pragma once

#include <vector>

#include "engine/elementwise.h"
#include "engine/philox.h"
#include "engine/tensor.h"

namespace tessera {

// ---- Elementwise (floating dtypes for unary ops; f32 arithmetic for f16 and bf16) ----
#define TESSERA_DECLARE_UNARY(Name, name, saves) Tensor name(const Tensor& x);
#define TESSERA_DECLARE_BINARY(Name, name, saves) Tensor name(const Tensor& a, const Tensor& b);
#define TESSERA_DECLARE_COMPARE(Name, name) Tensor name(const Tensor& a, const Tensor& b);
TESSERA_UNARY_OPS(TESSERA_DECLARE_UNARY)      // exp log sqrt rsqrt tanh sigmoid erf relu gelu ...
TESSERA_BINARY_OPS(TESSERA_DECLARE_BINARY)    // add sub mul div maximum minimum
TESSERA_COMPARE_OPS(TESSERA_DECLARE_COMPARE)  // equal not_equal less ...: bool, no gradient
#undef TESSERA_DECLARE_UNARY
#undef TESSERA_DECLARE_BINARY
#undef TESSERA_DECLARE_COMPARE
Tensor pow(const Tensor& x, double exponent);
Tensor add_scalar(const Tensor& x, double value);
Tensor mul_scalar(const Tensor& x, double value);
Tensor clamp(const Tensor& x, double low, double high);
// gelu(x + b) and both gradients in one pass each: x (..., D) of a product without its bias, b (D,)
// of x's dtype or f32.
Tensor bias_gelu(const Tensor& x, const Tensor& b);
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);  // condition bool
Tensor to(const Tensor& x, DType dtype);  // gradient flows between floating dtypes

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator+(const Tensor& x, double v) { return add_scalar(x, v); }
inline Tensor operator-(const Tensor& x, double v) { return add_scalar(x, -v); }
inline Tensor operator*(const Tensor& x, double v) { return mul_scalar(x, v); }
inline Tensor operator/(const Tensor& x, double v) { return mul_scalar(x, 1.0 / v); }

// ---- Shape ----
Tensor reshape(const Tensor& x, const Shape& shape);  // one size may be -1
Tensor permute(const Tensor& x, const Dims& dims);
Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1);
Tensor expand(const Tensor& x, const Shape& shape);
Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t stop, int64_t step = 1);
Tensor select(const Tensor& x, int64_t dim, int64_t index);
std::vector<Tensor> unbind(const Tensor& x, int64_t dim);  // one tensor for each index of dim
Tensor flip(const Tensor& x, int64_t dim);
Tensor roll(const Tensor& x, int64_t shift, int64_t dim);
Tensor cat(const std::vector<Tensor>& parts, int64_t dim);
Tensor stack(const std::vector<Tensor>& parts, int64_t dim);
// x (..., H, W) with `value` around it.
Tensor pad2d(const Tensor& x, int64_t left, int64_t right, int64_t top, int64_t bottom,
             double value = 0);
// x (B, C, H, W) -> (B, L, p p C), L row by row; within a patch: row, column, channel (fastest).
// MAE's patchify (models_mae.py). H and W must be multiples of patch.
Tensor unfold_patches(const Tensor& x, int64_t patch);
// The inverse: (B, L, p p C) -> (B, C, H, W).
Tensor fold_patches(const Tensor& patches, int64_t patch, int64_t height, int64_t width);

// ---- Reductions and order; an empty `dims` means all ----
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor var(const Tensor& x, const Dims& dims = {}, bool keepdim = false, bool unbiased = true);
Tensor amax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);  // ties share dy
Tensor argmax(const Tensor& x, int64_t dim, bool keepdim = false);          // i64, first of equals
Tensor argsort(const Tensor& x, int64_t dim);  // i64, ascending, stable
Tensor cumsum(const Tensor& x, int64_t dim);

// ---- Products ----
Tensor matmul(const Tensor& a, const Tensor& b);  // NumPy's rules for 1-d and batches
// x (..., K), w (N, K), b (N,) or undefined -> x w^T + b (..., N).
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b = {});
// Outputs from which on a linear layer has its input made again (Saved::or_maker). Making costs the
// reading and writing of the input, 0.45 ns an element here, the layer's three products 6 N / 280
// ns: together about a hundredth of ViT-B's step, 1.50 beside 1.49 s; 4 % where N is 192.
inline constexpr int64_t kMadeAgainFrom = 512;
// softmax(scale q k^T + bias) v. q (B, H, N, d), k and v (B, H, M, d), bias broadcasts to
// (1, H, N, M), of q's dtype or f32, or is undefined -> (B, H, N, d). Keeps no score matrix. The
// bias is learned (BEiT).
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                 double scale);
// x (N, C, H, W), w (O, C / groups, kh, kw), b (O,) or undefined -> (N, O, oh, ow).
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b = {}, int64_t stride = 1,
              int64_t padding = 0, int64_t dilation = 1, int64_t groups = 1);
// x (N, C, H, W), w (C, O, kh, kw) -> (N, O, (H-1) stride - 2 padding + kh + output_padding, ...).
Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b = {}, int64_t stride = 1,
                        int64_t padding = 0, int64_t output_padding = 0);

// ---- Resampling of (N, C, H, W): two products with a small weight matrix ----
enum class InterpolateMode { kNearest, kBilinear, kBicubic };
// -> (N, C, height, width), as torch.nn.functional.interpolate: bicubic a = -0.75, or -0.5 where
// antialias is on.
Tensor interpolate(const Tensor& x, int64_t height, int64_t width, InterpolateMode mode,
                   bool align_corners = false, bool antialias = false);
// -> (N, C, height, width): each output is the mean of its inputs,
// [floor(o in / out), ceil((o + 1) in / out)).
Tensor adaptive_avg_pool2d(const Tensor& x, int64_t height, int64_t width);
// Windows (kernel, kernel) -> (N, C, (H + 2 padding - kernel) / stride + 1, ...), rounded down. The
// zeros of the padding, at most kernel / 2, count in a mean.
Tensor avg_pool2d(const Tensor& x, int64_t kernel, int64_t stride, int64_t padding = 0);
// The same without padding; of equals the first in the window, row by row, gets the gradient.
Tensor max_pool2d(const Tensor& x, int64_t kernel, int64_t stride);

// ---- Normalisation ----
// Over the last dimension; w and b (D,) or undefined. Biased variance, two passes.
Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps);
// sum = x + r and normed = layer_norm(sum, w, b, eps) in one pass, and so their gradients: the step
// of a residual stream x by a branch r of the same shape. Under autocast r may be low and x f32.
struct NormedSum {
  Tensor sum, normed;
};
NormedSum add_layer_norm(const Tensor& x, const Tensor& r, const Tensor& w, const Tensor& b,
                         double eps);
// x (N, C, ...): over all but C, with the batch's biased variance. mean and var (C,) of the batch
// are returned for running statistics when asked for.
struct BatchStatistics {
  Tensor mean, var;
};
Tensor batch_norm_train(const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        BatchStatistics* statistics = nullptr);
// x (N, C, ...) -> the same shape: over the C / groups channels of a group and all that follows,
// for each sample; w and b (C,) or undefined. groups must divide C.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& w, const Tensor& b, double eps);
Tensor softmax(const Tensor& x, int64_t dim);
Tensor log_softmax(const Tensor& x, int64_t dim);

// ---- Losses: 0-d results, mean over the rows that count ----
// logits (N, C) or (N, C, ...), labels i64 (N,) or (N, ...). A label that is neither a class nor
// `ignore_index` is an Error on the host; on a device, which is not waited for, the loss is NaN.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, double label_smoothing = 0,
                     int64_t ignore_index = -100);
// - sum target log_softmax(logits) / N, both (N, C); the last dimension is the classes'.
Tensor soft_cross_entropy(const Tensor& logits, const Tensor& target);
Tensor mse_loss(const Tensor& x, const Tensor& target);  // mean (x - target)^2, of one shape
// The mean square of pred (B, T, p p C) less the patches of imgs (B, C, H, W) that ids (B, T) name,
// numbered row by row; in a patch row, column, channel (fastest), as unfold_patches has it. With
// `normalise` each patch is first normalised to its mean and unbiased variance (MAE's
// norm_pix_loss). imgs get no gradient. Half the gradient is made in forward's pass.
Tensor patch_loss(const Tensor& pred, const Tensor& imgs, const Tensor& ids, int64_t patch,
                  bool normalise);
// The mean of d^2 / (2 beta) where d < beta, else of d - beta / 2; d = |x - target|, of one shape.
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta = 1);
// sum exp(t) (t - x) / N for log-probabilities x and t (N, C).
Tensor kl_div_log_target_batchmean(const Tensor& x, const Tensor& target);

// ---- Indexing: i64 indices, checked ----
// index of x's shape but for dim -> y of index's shape. With dim = 1:
// y[i, j, k] = x[i, index[i, j, k], k].
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
// The other way, into a copy of x, s of index's shape: y[i, index[i, j, k], k] += s[i, j, k], j
// ascending.
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& s);
// index (K,) -> y of x's shape but for K in dim: y[i, j, k] = x[i, index[j], k].
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
Tensor embedding(const Tensor& weight, const Tensor& index);  // (V, D), (...) -> (..., D)
// Rows of x (B, L, D) named by ids (B, K) -> (B, K, D).
Tensor take_rows(const Tensor& x, const Tensor& ids);
// The patches of imgs (B, C, H, W) that ids (B, T) name (undefined: all in turn), numbered row by
// row, as vectors (B, T, C p p): channel (slowest), row, column, as a convolution's kernel lies.
// imgs get no gradient. Under autocast the vectors are low.
Tensor patch_vectors(const Tensor& imgs, int64_t patch, const Tensor& ids = {});
// Rows with the positions that belong to them, x (B, N, D) and one row more for all pictures, extra
// (D,): y (B, T, D)[b, t] = row + positions[place[b, t]], where row is x[b, source[b, t]], or extra
// where source[b, t] = N. positions (P, D). source (B, T) undefined: extra first, then x's rows in
// turn; place (B, T) undefined: t. Under autocast x may be low.
Tensor place_tokens(const Tensor& x, const Tensor& extra, const Tensor& source,
                    const Tensor& positions, const Tensor& place);
// x (..., D), mask bool (...) -> (M, D) in row-major order. The count M is read from the device.
Tensor masked_select_rows(const Tensor& x, const Tensor& mask);

// ---- Regularisation ----
// Element e survives when key.uniform(e) >= p, scaled by 1 / (1 - p).
Tensor dropout(const Tensor& x, double p, RandomKey key);
// Stochastic depth: whole samples (first dimension) are dropped together.
Tensor drop_path(const Tensor& x, double p, RandomKey key);

}  // namespace tessera
