// Products by cuBLASLt.
// Rule: one plan for each kind of product, kept; nothing is timed to choose it, and no algorithm
// may split K in an order that is not fixed. f32 stays f32 where TF32 is not asked for (Tf32 in
// engine/backend.h). What the library does not take, our own product does.
#include "cuda/vendor.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <mutex>

#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "engine/error.h"

namespace tessera::cuda::vendor {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;  // what NVIDIA recommends for Hopper

void check(cublasStatus_t status, const char* what) {
  TESSERA_CHECK(status == CUBLAS_STATUS_SUCCESS, "[gemm] cuBLASLt, {}: {}", what,
                cublasLtGetStatusString(status));
}

cublasLtHandle_t handle() {
  static const cublasLtHandle_t made = [] {
    cublasLtHandle_t h;
    check(cublasLtCreate(&h), "starting");
    return h;
  }();
  return made;
}

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return CUDA_R_64F;
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

// The library counts columns first. Seen so, a row-major matrix is its own transpose, and
// c = a b becomes c^T = b^T a^T: its left operand is our b.
struct Operand {
  const View& view;
  bool turned;  // the rows of ours lie side by side
  int64_t leading;

  explicit Operand(const View& v) : view(v) {
    const int64_t rows = v.shape[1], columns = v.shape[2];
    turned = !(v.stride[2] == 1 && (rows == 1 || v.stride[1] >= columns));
    leading = turned ? std::max(v.stride[2], rows) : std::max(v.stride[1], columns);
  }
  int64_t library_rows() const { return turned ? view.shape[1] : view.shape[2]; }
  int64_t library_columns() const { return turned ? view.shape[2] : view.shape[1]; }
  // 16 where 128 bits can be read at once, less elsewhere.
  int64_t alignment() const {
    const auto address = reinterpret_cast<uintptr_t>(view.data);
    int64_t bytes = 16;
    while (address % static_cast<uintptr_t>(bytes) != 0) bytes /= 2;
    return bytes;
  }
  // Everything a plan depends on.
  std::array<int64_t, 7> key() const {
    return {static_cast<int64_t>(view.dtype),
            turned,
            leading,
            view.shape[1],
            view.shape[2],
            view.stride[0],
            alignment()};
  }
};

class Layout {
 public:
  Layout(const Operand& x, int64_t batches) {
    check(cublasLtMatrixLayoutCreate(&made_, type_of(x.view.dtype),
                                     static_cast<uint64_t>(x.library_rows()),
                                     static_cast<uint64_t>(x.library_columns()), x.leading),
          "describing a matrix");
    const auto count = static_cast<int32_t>(batches);
    const int64_t stride = x.view.stride[0];
    check(cublasLtMatrixLayoutSetAttribute(made_, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                           sizeof(count)),
          "describing a batch");
    check(cublasLtMatrixLayoutSetAttribute(made_, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                           &stride, sizeof(stride)),
          "describing a batch");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(made_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  operator cublasLtMatrixLayout_t() const { return made_; }

 private:
  cublasLtMatrixLayout_t made_ = nullptr;
};

class Plan {
 public:
  Plan(const Operand& left, const Operand& right, const Operand& c, int64_t batches, bool bias)
      : left_(left, batches), right_(right, batches), c_(c, batches) {
    const bool wide = c.view.dtype == DType::kF64;
    // Of f32 factors: a weight's gradient in f32 may come from 16 bits.
    const bool f32 = c.view.dtype == DType::kF32 && left.view.dtype == DType::kF32 &&
                     right.view.dtype == DType::kF32;
    const bool tf32 = f32 && Tf32::allowed();
    check(cublasLtMatmulDescCreate(&product_,
                                   wide   ? CUBLAS_COMPUTE_64F
                                   : tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                          : CUBLAS_COMPUTE_32F,
                                   wide ? CUDA_R_64F : CUDA_R_32F),
          "describing a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, left.turned ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, right.turned ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(c.view.dtype));
    }
    choose(left.alignment(), right.alignment(), c.alignment());
  }
  ~Plan() { cublasLtMatmulDescDestroy(product_); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  bool usable() const { return usable_; }

  template <class C>
  void run(const GemmArgs& args, const void* bias) {
    if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const C alpha = static_cast<C>(args.alpha), beta = static_cast<C>(args.beta);
    const Scratch workspace(kWorkspace);
    check(cublasLtMatmul(handle(), product_, &alpha, args.b.data, left_, args.a.data, right_, &beta,
                         args.c.data, c_, args.c.data, c_, &algorithm_, workspace.as<void>(),
                         kWorkspace, stream()),
          "multiplying");
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(product_, attribute, &value, sizeof(value)),
          "describing a product");
  }

  // The first algorithm that the library names for this workspace.
  void choose(int64_t left_bytes, int64_t right_bytes, int64_t c_bytes) {
    cublasLtMatmulPreference_t wish;
    check(cublasLtMatmulPreferenceCreate(&wish), "wishing");
    const auto want = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(wish, attribute, &value, sizeof(value)),
            "wishing");
    };
    want(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
    // Partial sums of a split K may meet in the workspace, in order, and nowhere else.
    want(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(left_bytes));
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(right_bytes));
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(c_bytes));
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(c_bytes));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle(), product_, left_, right_,
                                                                 c_, c_, wish, 1, &found, &count);
    cublasLtMatmulPreferenceDestroy(wish);
    // What it names may still be nothing that it can do: each result has a state of its own.
    usable_ = status == CUBLAS_STATUS_SUCCESS && count == 1 && found.state == CUBLAS_STATUS_SUCCESS;
    algorithm_ = found.algo;
  }

  Layout left_, right_, c_;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
  bool usable_ = false;
};

// Plans live as long as the program: a training has some dozens. Under `gemm_mutex`.
std::mutex gemm_mutex;

Plan& plan_for(const Operand& left, const Operand& right, const Operand& c, int64_t batches,
               bool bias) {
  using Key = std::array<int64_t, 24>;
  static std::map<Key, Plan> plans;
  Key key{};
  auto at = key.begin();
  for (const Operand* x : {&left, &right, &c}) at = std::ranges::copy(x->key(), at).out;
  *at++ = batches;
  *at++ = bias;
  *at++ = Tf32::allowed();
  return plans.try_emplace(key, left, right, c, batches, bias).first->second;
}

std::atomic<int64_t> own = 0;

}  // namespace

bool gemm_depends_on_strides() { return true; }
int64_t own_products() { return own; }

void gemm(const GemmArgs& args) {
  const Operand left(args.b), right(args.a), c(args.c);
  const bool bias = args.bias.data != nullptr;
  const std::lock_guard lock(gemm_mutex);  // of the plans, and of each while its bias is set
  Plan& plan = plan_for(left, right, c, args.c.shape[0], bias);
  if (!plan.usable()) {
    ++own;
    return cuda::gemm(args);
  }
  // The library adds a bias of c's type alone (cublasLt.h, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE;
  // only fp8 products may have another): an f32 bias of a 16-bit product is rounded first, by a
  // launch of its own. And plans are made for a bias that begins at a multiple of 16 bytes.
  const bool aligned = reinterpret_cast<uintptr_t>(args.bias.data) % 16 == 0;
  const bool cast =
      bias && (args.bias.dtype != args.c.dtype || args.bias.stride[0] != 1 || !aligned);
  const Scratch rounded(cast ? static_cast<size_t>(args.bias.shape[0]) * size_of(args.c.dtype) : 1);
  if (cast) {
    copy(args.bias, {rounded.as<void>(), args.c.dtype, 1, {args.bias.shape[0]}, {1}});
  }
  const void* const added = cast ? rounded.as<void>() : args.bias.data;
  if (args.c.dtype == DType::kF64) {
    plan.run<double>(args, added);
  } else {
    plan.run<float>(args, added);
  }
}

}  // namespace tessera::cuda::vendor
