// Convolutions by cuDNN, where its library is.
// Rule: one plan for each kind of convolution, kept; nothing is timed to choose it. Of its
// algorithms those that form the very sums, in an order of their own but always the same: implicit
// and explicit products, no Winograd, no FFT, nothing that the library does not call deterministic.
// f32 stays f32 where TF32 is not asked for. What it does not take, our own convolution does.
#include "cuda/vendor.h"

#if __has_include(<cudnn.h>)

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <map>
#include <mutex>

#include "cuda/cudnn_library.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "engine/error.h"

namespace tessera::cuda::vendor {
namespace {

constexpr size_t kMostWorkspace = size_t{1} << 30;

enum class Pass : uint8_t { kForward, kInput, kWeight };

// The library and its handle.
struct OpenedCudnn {
  const Cudnn* library = nullptr;  // nullptr: there is none, or it does not start here
  cudnnHandle_t handle = nullptr;
  std::string words;  // what it is, or why there is none
};

void check(const Cudnn& library, cudnnStatus_t status, const char* what) {
  TESSERA_CHECK(status == CUDNN_STATUS_SUCCESS, "[conv2d] cuDNN, {}: {}", what,
                library.GetErrorString(status));
}

const OpenedCudnn& opened() {
  static const OpenedCudnn one = [] {
    OpenedCudnn s{nullptr, nullptr, cudnn_in_words()};
    const Cudnn* const library = cudnn_library();
    if (library == nullptr) return s;
    const cudnnStatus_t status = library->Create(&s.handle);
    if (status == CUDNN_STATUS_SUCCESS) {
      s.library = library;
    } else {
      s.words += fmt::format(" does not start: {}", library->GetErrorString(status));
    }
    return s;
  }();
  return one;
}

cudnnDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return CUDNN_DATA_DOUBLE;
    case DType::kF16:
      return CUDNN_DATA_HALF;
    case DType::kBF16:
      return CUDNN_DATA_BFLOAT16;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

// Everything a plan depends on.
using Key = std::array<int64_t, 15>;
Key key_of(Pass pass, const ConvArgs& a) {
  return {static_cast<int64_t>(pass),
          static_cast<int64_t>(a.x.dtype),
          a.x.shape[0],
          a.x.shape[1],
          a.x.shape[2],
          a.x.shape[3],
          a.w.shape[0],
          a.w.shape[2],
          a.w.shape[3],
          a.y.shape[2],
          a.stride,
          a.padding,
          a.dilation,
          a.groups,
          Tf32::allowed()};
}

// Descriptors live as long as the program, as plans do: a training has some dozens.
class Plan {
 public:
  Plan(const OpenedCudnn& opened, Pass pass, const ConvArgs& args)
      : library_(*opened.library), handle_(opened.handle), pass_(pass) {
    usable_ = describe(args) && choose();
  }

  // Whether the library took it.
  bool run(const ConvArgs& args) {
    if (!usable_) return false;
    const Scratch workspace(std::max<size_t>(workspace_, 1));
    const double wide[] = {1, 0};
    const float narrow[] = {1, 0};
    const bool f64 = args.x.dtype == DType::kF64;
    const void* one = f64 ? static_cast<const void*>(&wide[0]) : &narrow[0];
    const void* none = f64 ? static_cast<const void*>(&wide[1]) : &narrow[1];
    check(library_, library_.SetStream(handle_, stream()), "taking the stream");
    const cudnnStatus_t status = multiply(args, one, none, workspace.as<void>());
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return usable_ = false;
    check(library_, status, "convolving");
    return true;
  }

 private:
  // False: sizes that the library cannot count, or a convolution that it does not know.
  bool describe(const ConvArgs& a) {
    constexpr int64_t kMost = std::numeric_limits<int>::max();
    for (const View* v : {&a.x, &a.w, &a.y}) {
      if (v->numel() > kMost) return false;
    }
    const auto made = [&](cudnnStatus_t status) { return status == CUDNN_STATUS_SUCCESS; };
    const auto size = [](const View& v, int d) { return static_cast<int>(v.shape[d]); };
    const auto plain = [](int64_t n) { return static_cast<int>(n); };
    const auto tensor = [&](const View& v, cudnnTensorDescriptor_t* out) {
      return made(library_.CreateTensorDescriptor(out)) &&
             made(library_.SetTensor4dDescriptor(*out, CUDNN_TENSOR_NCHW, type_of(v.dtype),
                                                 size(v, 0), size(v, 1), size(v, 2), size(v, 3)));
    };
    const bool tensor_cores =
        size_of(a.x.dtype) == 2 || (a.x.dtype == DType::kF32 && Tf32::allowed());
    return tensor(a.x, &x_) && tensor(a.y, &y_) && made(library_.CreateFilterDescriptor(&w_)) &&
           made(library_.SetFilter4dDescriptor(w_, type_of(a.w.dtype), CUDNN_TENSOR_NCHW,
                                               size(a.w, 0), size(a.w, 1), size(a.w, 2),
                                               size(a.w, 3))) &&
           made(library_.CreateConvolutionDescriptor(&convolution_)) &&
           made(library_.SetConvolution2dDescriptor(
               convolution_, plain(a.padding), plain(a.padding), plain(a.stride), plain(a.stride),
               plain(a.dilation), plain(a.dilation), CUDNN_CROSS_CORRELATION,
               a.x.dtype == DType::kF64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT)) &&
           made(library_.SetConvolutionGroupCount(convolution_, plain(a.groups))) &&
           made(library_.SetConvolutionMathType(
               convolution_, tensor_cores ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH));
  }

  bool choose() {
    switch (pass_) {
      case Pass::kForward:
        return choose<cudnnConvolutionFwdAlgoPerf_t>(
            {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
             CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_GEMM},
            library_.GetConvolutionForwardAlgorithm_v7, library_.GetConvolutionForwardWorkspaceSize,
            x_, w_, convolution_, y_);
      case Pass::kInput:
        return choose<cudnnConvolutionBwdDataAlgoPerf_t>(
            {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1}, library_.GetConvolutionBackwardDataAlgorithm_v7,
            library_.GetConvolutionBackwardDataWorkspaceSize, w_, y_, convolution_, x_);
      case Pass::kWeight:
        break;
    }
    return choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
        {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1}, library_.GetConvolutionBackwardFilterAlgorithm_v7,
        library_.GetConvolutionBackwardFilterWorkspaceSize, x_, y_, convolution_, w_);
  }

  // The first of the library's list, which it orders by what it expects of them, that is allowed.
  template <class Found, class Ask, class Size, class... Descriptors>
  bool choose(std::initializer_list<decltype(Found::algo)> allowed, Ask ask, Size size,
              Descriptors... descriptors) {
    constexpr int kMost = 16;  // more than there are
    Found list[kMost];
    int count = 0;
    if (ask(handle_, descriptors..., kMost, &count, list) != CUDNN_STATUS_SUCCESS) return false;
    for (int i = 0; i < count; ++i) {
      const auto algorithm = list[i].algo;
      if (list[i].status != CUDNN_STATUS_SUCCESS || list[i].determinism != CUDNN_DETERMINISTIC ||
          std::ranges::find(allowed, algorithm) == allowed.end()) {
        continue;
      }
      if (size(handle_, descriptors..., algorithm, &workspace_) == CUDNN_STATUS_SUCCESS &&
          workspace_ <= kMostWorkspace) {
        algorithm_ = static_cast<int>(algorithm);
        return true;
      }
    }
    return false;
  }

  cudnnStatus_t multiply(const ConvArgs& a, const void* one, const void* none, void* workspace) {
    switch (pass_) {
      case Pass::kForward:
        return library_.ConvolutionForward(handle_, one, x_, a.x.data, w_, a.w.data, convolution_,
                                           static_cast<cudnnConvolutionFwdAlgo_t>(algorithm_),
                                           workspace, workspace_, none, y_, a.y.data);
      case Pass::kInput:
        return library_.ConvolutionBackwardData(
            handle_, one, w_, a.w.data, y_, a.y.data, convolution_,
            static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm_), workspace, workspace_, none, x_,
            a.x.data);
      case Pass::kWeight:
        break;
    }
    return library_.ConvolutionBackwardFilter(
        handle_, one, x_, a.x.data, y_, a.y.data, convolution_,
        static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm_), workspace, workspace_, none, w_,
        a.w.data);
  }

  const Cudnn& library_;
  cudnnHandle_t handle_;
  Pass pass_;
  cudnnTensorDescriptor_t x_ = nullptr, y_ = nullptr;
  cudnnFilterDescriptor_t w_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
  int algorithm_ = 0;
  size_t workspace_ = 0;
  bool usable_ = false;
};

// False: our own convolution is to do it.
bool by_library(Pass pass, const ConvArgs& args) {
  for (const View* v : {&args.x, &args.w, &args.y}) {
    // Kernels for tensor cores read 16 bytes at a time, and no plan says which of them it has.
    const bool aligned = reinterpret_cast<uintptr_t>(v->data) % 16 == 0;
    if (!aligned || v->dtype != args.x.dtype || v->numel() == 0) return false;
  }
  static std::mutex mutex;  // of the handle and of the plans
  static std::map<Key, Plan> plans;
  const std::lock_guard lock(mutex);
  if (opened().library == nullptr) return false;
  return plans.try_emplace(key_of(pass, args), opened(), pass, args).first->second.run(args);
}

}  // namespace

void conv2d(const ConvArgs& args) {
  if (!by_library(Pass::kForward, args)) cuda::conv2d(args);
}
void conv2d_dx(const ConvArgs& args) {
  if (!by_library(Pass::kInput, args)) cuda::conv2d_dx(args);
}
void conv2d_dw(const ConvArgs& args) {
  if (!by_library(Pass::kWeight, args)) cuda::conv2d_dw(args);
}

std::string describe() {
  return opened().library == nullptr
             ? fmt::format("convolutions by our own kernels: {}", opened().words)
             : "convolutions by " + opened().words;
}

}  // namespace tessera::cuda::vendor

#else  // a toolkit without cuDNN's headers

#include "cuda/kernels.h"

namespace tessera::cuda::vendor {

void conv2d(const ConvArgs& args) { cuda::conv2d(args); }
void conv2d_dx(const ConvArgs& args) { cuda::conv2d_dx(args); }
void conv2d_dw(const ConvArgs& args) { cuda::conv2d_dw(args); }
std::string describe() { return "convolutions by our own kernels: built without cuDNN's headers"; }

}  // namespace tessera::cuda::vendor

#endif
