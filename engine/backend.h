// The waist: everything above speaks to a device through these functions on plain Views.
// Rule: a function earns its place by an op with a row in the op table; what is a composition stays
// one. Shapes, dtypes and indices are checked by the caller (engine/raw_*.cc); a kernel trusts
// them. Calls are asynchronous where the device is; results are bit-identical from run to run, for
// any number of threads and any strides of the same values (but see products_depend_on_strides).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/allocator.h"
#include "engine/device.h"
#include "engine/elementwise.h"
#include "engine/philox.h"
#include "engine/step_state.h"
#include "engine/transfer.h"
#include "engine/view.h"

namespace tessera {

enum class ReduceOp : uint8_t { kSum, kMax, kSumSquares };

// c (B, M, N) = alpha * a (B, M, K) b (B, K, N) + beta * c + bias (N,), all of one floating dtype.
// a and b may be transposed or broadcast over B (stride 0); in each, one of the last two strides
// is 1. c's last stride is 1. beta = 0 never reads c. f16 and bf16 accumulate in f32.
struct GemmArgs {
  View a, b, c;
  View bias;  // data == nullptr: none
  double alpha = 1, beta = 0;
};

// out (B, H, N, d) = softmax(scale q k^T + bias) v, with q (B, H, N, d), k and v (B, H, M, d).
// Any strides but the last, which is 1. bias (B, H, N, M), stride 0 where it is broadcast.
struct AttentionArgs {
  View q, k, v;
  View bias;  // data == nullptr: none
  double scale = 1;
  View out;
  View lse;  // (B, H, N) contiguous, f32 or f64: log-sum-exp of each row, for backward
};

struct AttentionBackwardArgs {
  AttentionArgs forward;  // as it was called
  View dout;              // (B, H, N, d), last stride 1
  View dq, dk, dv;        // like q, k, v
  View dbias;             // (H, N, M) contiguous, summed over B; data == nullptr: not wanted
};

// y = (x - mean) rstd w + b for each row of x, everything contiguous (rows, n). With a branch r the
// rows are those of sum = x + r, as sum stores them.
struct LayerNormArgs {
  View x;
  View r, sum;  // data == nullptr, both or none: no branch
  View w, b;    // (n,); data == nullptr: 1 and 0
  double eps = 0;
  View y;
  View mean, rstd;  // (rows,)
};

// dx = dy through the norm, and dsum, which arrived at its rows from elsewhere, on top.
struct LayerNormBackwardArgs {
  View x;  // the rows that were normalised: forward's x, or its sum
  View w, mean, rstd;
  View dy;
  View dsum;    // data == nullptr: none
  View dx;      // may be dsum itself
  View dr;      // dx in another dtype; data == nullptr: not wanted
  View dw, db;  // (n,); data == nullptr: not wanted
};

// y (B, T, D)[b, t] = row + table[place[b, t]], where row is x[b, source[b, t]] or, where source
// says N, `extra`. x (B, N, D), extra (D,), table (P, D), y and their gradients are contiguous,
// each of its own floating dtype; source and place i64 (B, T), any strides.
struct PlaceTokensArgs {
  View x, extra, table;
  View source;  // data == nullptr: extra first, then x's rows in turn; T = N + 1
  View place;   // data == nullptr: t; P = T
  View y;
};

// y (B, T, C p p): the patches that ids (B, T) i64 name of pictures imgs (B, C, H, W), numbered row
// by row; within one channel, row, column (fastest). All contiguous; y and imgs each of its own
// floating dtype, both f64 or neither.
struct PatchesArgs {
  View imgs;
  View ids;           // data == nullptr: all in turn; T = H / p W / p
  int64_t patch = 1;  // p
  View y;
};

// pred (B, T, p p C) against the patches that ids (B, T) i64, contiguous, name of pictures imgs
// (B, C, H, W): numbered row by row; within one row, column, channel (fastest). All contiguous.
struct PatchLossArgs {
  View pred, imgs, ids;
  int64_t patch = 1;       // p
  bool normalise = false;  // each patch by its mean and unbiased deviation (variance + 1e-6)
  View losses;             // (B T,): a patch's sum of squared differences
  View diff;               // like pred: pred - patch; data == nullptr: not wanted
};

// Of the rows of logits (rows, n), contiguous. A row whose label is `ignore_index` loses 0 and has
// no gradient, one whose label is no class loses NaN.
struct CrossEntropyArgs {
  View logits;
  View labels;                 // i64 (rows,)
  double label_smoothing = 0;  // s: the target is 1 - s on the label, and s / n everywhere
  int64_t ignore_index = -100;
  View losses;   // (rows,)
  View dlogits;  // like logits: the gradient of the row's loss; data == nullptr: not wanted
  double gradient_scale = 1;  // times this
};

// x (N, C, H, W), w (O, C / groups, kh, kw), y (N, O, oh, ow), all contiguous.
struct ConvArgs {
  View x, w, y;
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
};

// out (B, C, H, W) f32 from pictures of 8 bits: resampled, mirrored, moved, and each level looked
// up.
struct PictureArgs {
  View
      pixels;  // u8 (B, room): a picture's rows of C interleaved bytes, without gaps, then anything
  View plans;  // i32 (B, room): see engine/picture_plan.h
  View levels;  // f32 (C, 257): the number for each level, and for what moves in
  View out;     // all four contiguous
};

// One parameter's place in the flat arenas and how it is treated.
struct AdamWSegment {
  int64_t begin = 0, end = 0;  // elements of the arena
  float weight_decay = 0;
  float lr_scale = 1;  // layer-wise decay
};

// Decoupled weight decay (Loshchilov and Hutter, 2019) in PyTorch's order of operations. f32
// arenas of one length; learning rate, bias corrections and the factor of the gradients are the
// state's, and nothing is done where it says so.
struct AdamWArgs {
  View param, grad, exp_avg, exp_avg_sq;
  View average;  // f32, moves towards the updated parameters; data == nullptr: none
  View shadow;   // bf16 or f16: the updated parameters, rounded; data == nullptr: none
  // On the device; segments ascend.
  const AdamWSegment* segments = nullptr;
  int64_t segment_count = 0;
  const StepState* state = nullptr;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

// A product implementation by name, for benchmarks. The contract is Backend::gemm's, without a bias
// and for the dtypes it names; an Error for anything else.
struct GemmImplementation {
  std::string name;
  std::vector<DType> dtypes;
  void (*run)(const GemmArgs&);
};

// Work that was recorded once and that its device repeats without the host (a CUDA graph). The
// memory it works on is held as long as it lives; it belongs to the thread that recorded it.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void replay() = 0;  // queued
};

// Bytes of the device on their way to the host, which goes on meanwhile.
class HostCopy {
 public:
  virtual ~HostCopy() = default;
  virtual void queue(const void* device) = 0;  // a copy behind all that is queued
  virtual bool ready() = 0;                    // whether the last one is there, without waiting
  virtual const void* wait() = 0;              // its bytes, until the next queue()
};

// A point in a device's work, to measure time by.
class Moment {
 public:
  virtual ~Moment() = default;
  // By the clock of the device, of which both are; waits until it has come this far.
  virtual double seconds_since(const Moment& earlier) const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Memory. When a copy returns the host's bytes are free to change, or there.
  virtual CachingAllocator& allocator() = 0;
  virtual void copy_from_host(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* device, size_t bytes) = 0;
  virtual void synchronize() = 0;
  // A copy to `device` that is filled and sent by any thread: pinned memory and a stream of its own
  // on a GPU, the memory itself on the CPU. What is queued by now may still use the memory.
  virtual std::unique_ptr<Transfer> transfer(void* device, size_t bytes) = 0;
  virtual std::unique_ptr<HostCopy> host_copy(size_t bytes);
  virtual std::unique_ptr<Moment> moment();  // behind all that is queued
  virtual std::string describe() const = 0;  // one line for `tessera info`
  // Whether products of a 16-bit type are faster here than f32's; else they save memory alone.
  virtual bool has_fast_products(DType /*low*/) const { return true; }
  // Memory beside the allocator's that kernels keep from call to call.
  virtual size_t workspace_bytes() const { return 0; }

  // Recording. Everything that `work` queues on this thread is recorded and not done; what it asks
  // of the device, or copies from the host, is an Error, and so is recording where there are no
  // graphs. Whatever it makes lies in memory that all recordings share: when another one runs, it
  // is gone.
  virtual bool has_graphs() const { return false; }
  virtual std::unique_ptr<Graph> record(const std::function<void()>& work);

  // Elementwise, any strides. copy converts between dtypes. out may be one of the inputs itself.
  virtual void copy(const View& src, const View& dst) = 0;
  virtual void fill(const View& dst, double value) = 0;
  virtual void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y) = 0;
  virtual void unary_backward(UnaryOp op, ScalarArgs args, const View& saved, const View& dy,
                              const View& dx) = 0;
  // x = x (by factor), in place; by 0-d: a gradient that was made before it was known of what.
  virtual void scale_by(const View& by, double factor, const View& x) = 0;
  virtual void binary(BinaryOp op, const View& a, const View& b, const View& y) = 0;
  // da and db have dy's shape; data == nullptr: not wanted.
  virtual void binary_backward(BinaryOp op, const View& a, const View& b, const View& dy,
                               const View& da, const View& db) = 0;
  virtual void compare(CompareOp op, const View& a, const View& b, const View& y) = 0;
  virtual void where(const View& condition, const View& a, const View& b, const View& y) = 0;

  // Reductions and order over the middle of x (outer, n, inner), contiguous.
  // y (outer, inner). Sums of f16, bf16 and f32 run in f32, in an order fixed by the shape.
  virtual void reduce(ReduceOp op, const View& x, const View& y) = 0;
  virtual void argmax(const View& x, const View& y) = 0;   // y i64 (outer, inner), first of equals
  virtual void cumsum(const View& x, const View& y) = 0;   // y like x
  virtual void argsort(const View& x, const View& y) = 0;  // y i64 like x, ascending, stable

  // Products.
  // Whether the bits of gemm and conv2d* depend on strides and alignment too: a vendor's library
  // picks its kernels by them, and to turn an operand first would take half as long as the product.
  // The same strides and alignment give the same bits everywhere.
  virtual bool products_depend_on_strides() const { return false; }
  virtual void gemm(const GemmArgs& args) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  virtual void attention_backward(const AttentionBackwardArgs& args) = 0;
  virtual void conv2d(const ConvArgs& args) = 0;     // y from x, w
  virtual void conv2d_dx(const ConvArgs& args) = 0;  // x (as dx) from w, y (as dy)
  virtual void conv2d_dw(const ConvArgs& args) = 0;  // w (as dw) from x, y (as dy)

  // Row kernels on contiguous (rows, n). Statistics are f32 (f64 for f64).
  virtual void softmax(const View& x, const View& y) = 0;
  virtual void softmax_backward(const View& y, const View& dy, const View& dx) = 0;
  virtual void log_softmax(const View& x, const View& y) = 0;
  virtual void log_softmax_backward(const View& y, const View& dy, const View& dx) = 0;
  virtual void layer_norm(const LayerNormArgs& args) = 0;
  virtual void layer_norm_backward(const LayerNormBackwardArgs& args) = 0;
  // y = gelu(x + b), b (n,) of any stride; x, y, dy and dx of one dtype. dx may be dy itself; db
  // (n,) is dx summed over the rows, data == nullptr: not wanted.
  virtual void bias_gelu(const View& x, const View& b, const View& y) = 0;
  virtual void bias_gelu_backward(const View& x, const View& b, const View& dy, const View& dx,
                                  const View& db) = 0;
  virtual void patch_loss(const PatchLossArgs& args) = 0;
  virtual void cross_entropy(const CrossEntropyArgs& args) = 0;

  // Indexing along the middle of x (outer, n, inner); index i64 (outer, k, inner), any strides.
  virtual void gather(const View& x, const View& index, const View& y) = 0;  // y (outer, k, inner)
  // x[o, index[o, j, i], i] += s[o, j, i], j ascending.
  virtual void scatter_add(const View& s, const View& index, const View& x) = 0;
  virtual void patches(const PatchesArgs& args) = 0;
  virtual void place_tokens(const PlaceTokensArgs& args) = 0;
  // From dy in args.y: dx in args.x and dextra in args.extra, each summed over what it was read
  // for, t ascending, then b; extra.data == nullptr: not wanted. The table and its places do not
  // matter.
  virtual void place_tokens_backward(const PlaceTokensArgs& args) = 0;
  virtual bool index_in_range(const View& index, int64_t n) = 0;  // all 0 <= index < n

  // Random numbers: four elements from 4 b on share key.block(b); y contiguous f32 or f64.
  virtual void uniform(RandomKey key, const View& y) = 0;  // [0, 1): key.uniform(element)
  virtual void normal(RandomKey key, const View& y) = 0;   // mean 0, deviation 1, Box-Muller
  // y = x * [u >= p] / (1 - p), u = key.uniform(element / group): the backward is the same call
  // on dy. group > 1 drops runs of elements together (drop path). x and y contiguous.
  virtual void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y) = 0;

  // For a device's loader: the host's own has vector code for it (data/resize.cc) and calls none.
  virtual void pictures(const PictureArgs& args);

  // Optimizer. judge() of engine/step_state.h on the device: losses f64 (n,), any stride, and
  // sum_squares f32 0-d; data == nullptr of both: nobody asks.
  virtual void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                          StepState* state) = 0;
  virtual void adamw(const AdamWArgs& args) = 0;
  // The row-major position of the first Inf or NaN in contiguous x, or -1.
  virtual int64_t first_nonfinite(const View& x) = 0;

  // What a benchmark can walk without seeing inside.
  virtual std::vector<GemmImplementation> gemm_implementations() = 0;
};

// Called once by a backend's own static initialiser. `why_not` says in a few words why this machine
// cannot run it, empty when it can; nullptr: it always can.
void register_backend(Device device, Backend* (*get)(), std::string (*why_not)() = nullptr);
// Why the device cannot be used: "this build has no cuda backend", or what its driver says. Empty
// when it can.
std::string why_unavailable(Device device);
bool has_backend(Device device);
// UsageError with why_unavailable's words.
Backend& backend(Device device);
// The graphics card where there is one and the program can use it, else the CPU.
Device default_device();

// How many threads the CPU's kernels may use; results do not depend on it. 0 before it is known.
void set_num_threads(int threads);
int num_threads();

// While one lives, a device may round the factors of this thread's f32 products and convolutions to
// 11 bits (TF32, for NVIDIA's tensor cores); `allowed` false forbids it again. Forbidden where
// there is none; a device that knows no such thing takes no notice.
class Tf32 {
 public:
  explicit Tf32(bool allowed);
  ~Tf32();
  Tf32(const Tf32&) = delete;
  Tf32& operator=(const Tf32&) = delete;

  static bool allowed();

 private:
  bool before_;
};

}  // namespace tessera
