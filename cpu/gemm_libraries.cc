// The same product by whole libraries, one call each: what the tile grid of gemm.cc is measured
// against. Only benchmarks and tests come here.
// Rule: a library gets all threads and cuts the work as it likes, so the bits of a result may
// depend on the number of threads; that is why no training goes this way.
#include <omp.h>

#include <Eigen/Core>
#include <dnnl.hpp>
#include <map>

#include "cpu/kernels.h"
#include "cpu/multiply.h"
#include "cpu/openblas.h"
#include "cpu/pool.h"
#include "engine/error.h"

namespace tessera::cpu {
namespace {

bool is_transposed(const View& v) { return v.stride[2] != 1; }
int64_t leading_dimension(const View& v) { return v.stride[is_transposed(v) ? 2 : 1]; }

template <class T>
T* matrix_at(const View& v, int64_t batch) {
  return v.as<T>() + batch * v.stride[0];
}

// OpenMP's threads for one call of a library.
class AllThreads {
 public:
  AllThreads() { omp_set_num_threads(num_threads()); }
  ~AllThreads() { keep_onednn_on_this_thread(); }
  AllThreads(const AllThreads&) = delete;
  AllThreads& operator=(const AllThreads&) = delete;
};

void check_plain(const char* library, const GemmArgs& args, bool known_dtype) {
  TESSERA_CHECK(known_dtype && args.bias.data == nullptr,
                "[gemm] the plain {} product has no bias and no {}", library,
                name_of(args.c.dtype));
}

// oneDNN's state: its matmul primitives are kept, since making one costs as much as a small
// product.
struct OneDnn {
  struct Product {
    dnnl::matmul multiply;
    dnnl::memory packed_b;  // where b goes first; empty where it is read as it lies
  };
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<std::vector<double>, Product> products;
};

// With `pack`, b is brought into the order that oneDNN likes best, in every call. That is what
// packing a weight once a step costs: forward and dgrad read it once each, in orders of their own.
void run_matmul(const GemmArgs& args, bool pack) {
  using dnnl::memory;
  const bool bf16 = args.c.dtype == DType::kBF16;
  static OneDnn& library = *new OneDnn;  // outlives the library's own statics
  std::vector<double> key = {double(bf16), double(pack), double(num_threads()), args.alpha,
                             args.beta};
  const auto layout = [&](const View& v) {
    const bool shared = v.stride[0] == 0;  // over the batch, or a batch of one
    const memory::dims shape = {shared ? 1 : v.shape[0], v.shape[1], v.shape[2]};
    const memory::dims strides = {shared ? v.shape[1] * v.shape[2] : v.stride[0], v.stride[1],
                                  v.stride[2]};
    key.insert(key.end(), shape.begin(), shape.end());
    key.insert(key.end(), strides.begin(), strides.end());
    return memory::desc(shape, bf16 ? memory::data_type::bf16 : memory::data_type::f32, strides);
  };
  const memory::desc a = layout(args.a), b = layout(args.b), c = layout(args.c);
  const AllThreads all_threads;
  auto product = library.products.find(key);
  if (product == library.products.end()) {
    dnnl::primitive_attr attributes;
    if (args.alpha != 1) attributes.set_output_scales(0, {static_cast<float>(args.alpha)});
    if (args.beta != 0) {
      dnnl::post_ops after;
      after.append_sum(static_cast<float>(args.beta));
      attributes.set_post_ops(after);
    }
    const memory::desc any(b.dims(), b.data_type(), memory::format_tag::any);
    const dnnl::matmul::primitive_desc plan({a, pack ? any : b, c}, attributes, library.engine);
    const memory packed = pack ? memory(plan.weights_desc(), library.engine) : memory();
    product = library.products.emplace(key, OneDnn::Product{dnnl::matmul(plan), packed}).first;
  }
  const auto at = [&](const memory::desc& desc, const View& v) {
    return memory(desc, library.engine, v.data);
  };
  memory weights = at(b, args.b);
  if (pack) {
    memory packed = product->second.packed_b;
    dnnl::reorder(weights, packed).execute(library.stream, weights, packed);
    weights = packed;
  }
  product->second.multiply.execute(
      library.stream,
      {{DNNL_ARG_SRC, at(a, args.a)}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, at(c, args.c)}});
  library.stream.wait();
}

template <bool kPack>
void onednn_gemm(const GemmArgs& args) {
  check_plain("oneDNN", args, args.c.dtype == DType::kBF16 || args.c.dtype == DType::kF32);
  try {
    run_matmul(args, kPack);
  } catch (const dnnl::error& error) {
    throw Error(fmt::format("[gemm] oneDNN: {}", error.what()));
  }
}

// Eigen on a piece of c's rows for each thread.
void eigen_gemm(const GemmArgs& args) {
  check_plain("Eigen", args, args.c.dtype == DType::kF32);
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Columns = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic>;
  using Stride = Eigen::OuterStride<>;
  const auto visit = [](const View& v, int64_t batch, auto&& use) {
    const float* p = matrix_at<const float>(v, batch);
    const Stride stride(leading_dimension(v));
    if (is_transposed(v)) {
      use(Eigen::Map<const Columns, 0, Stride>(p, v.shape[1], v.shape[2], stride));
    } else {
      use(Eigen::Map<const Rows, 0, Stride>(p, v.shape[1], v.shape[2], stride));
    }
  };
  const float alpha = static_cast<float>(args.alpha), beta = static_cast<float>(args.beta);
  const int64_t m = args.c.shape[1], piece = ceil_div(m, num_threads());
  for (int64_t batch = 0; batch < args.c.shape[0]; ++batch) {
    parallel_ranges(m, piece, [&](int64_t begin, int64_t end) {
      Eigen::Map<Rows, 0, Stride> all(matrix_at<float>(args.c, batch), m, args.c.shape[2],
                                      Stride(args.c.stride[1]));
      auto c = all.middleRows(begin, end - begin);
      if (beta == 0) {
        c.setZero();
      } else {
        c *= beta;
      }
      visit(args.a, batch, [&](const auto& left) {
        visit(args.b, batch, [&](const auto& right) {
          c.noalias() += alpha * (left.middleRows(begin, end - begin) * right);
        });
      });
    });
  }
}

void openblas_gemm(const GemmArgs& args) {
  check_plain("OpenBLAS", args, args.c.dtype == DType::kF32);
  const OpenBlas& library = *openblas();
  const AllThreads all_threads;
  if (library.set_num_threads != nullptr) library.set_num_threads(num_threads());
  const auto transposition = [](const View& v) {
    return is_transposed(v) ? OpenBlas::kTransposed : OpenBlas::kPlain;
  };
  const auto size = [](int64_t n) { return static_cast<int>(n); };
  for (int64_t batch = 0; batch < args.c.shape[0]; ++batch) {
    library.sgemm(OpenBlas::kRowMajor, transposition(args.a), transposition(args.b),
                  size(args.c.shape[1]), size(args.c.shape[2]), size(args.a.shape[2]),
                  static_cast<float>(args.alpha), matrix_at<const float>(args.a, batch),
                  size(leading_dimension(args.a)), matrix_at<const float>(args.b, batch),
                  size(leading_dimension(args.b)), static_cast<float>(args.beta),
                  matrix_at<float>(args.c, batch), size(args.c.stride[1]));
  }
}

}  // namespace

std::vector<GemmImplementation> gemm_implementations() {
  std::vector<GemmImplementation> all = {
      {"tessera", {DType::kF32, DType::kBF16, DType::kF16, DType::kF64}, gemm},
      {"onednn", {DType::kF32}, onednn_gemm<false>},
      {"onednn-packed", {DType::kF32}, onednn_gemm<true>},
      {"eigen", {DType::kF32}, eigen_gemm}};
  constexpr int kBf16 = dnnl_cpu_isa_avx512_core_bf16;  // a set of bits; without it oneDNN emulates
  if ((dnnl_get_effective_cpu_isa() & kBf16) == kBf16) {
    for (const size_t i : {1, 2}) all[i].dtypes.push_back(DType::kBF16);
  }
  if (has_bf16_products()) {
    all.push_back({"tessera-bf16", {DType::kBF16}, [](const GemmArgs& a) { gemm_bf16(a, true); }});
    all.push_back({"tessera-f32", {DType::kBF16}, [](const GemmArgs& a) { gemm_bf16(a, false); }});
  }
  if (openblas() != nullptr) all.push_back({"openblas", {DType::kF32}, openblas_gemm});
  return all;
}

}  // namespace tessera::cpu
