// bf16 products: oneDNN's own where the processor gains by them, else widened and done in f32.
// Rule: what oneDNN sees is row-major and goes to one of its kernels, however long the rows are, so
// that the order of sums follows from the shape alone.
#include <dnnl.hpp>
#include <string_view>
#include <unordered_map>

#include "cpu/multiply.h"
#include "cpu/pack.h"
#include "cpu/pool.h"

namespace tessera::cpu {
namespace {

// A product's shape as the primitive is made for it.
struct Key {
  int64_t m, n, k, lda, ldb, ldc;
  bool accumulate;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t h = key.accumulate;
    for (int64_t v : {key.m, key.n, key.k, key.lda, key.ldb, key.ldc}) {
      h = (h ^ static_cast<uint64_t>(v)) * 0x9e3779b97f4a7c15u;
    }
    return h ^ (h >> 32);
  }
};

const dnnl::engine& engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// A matmul and its operands, whose pointers each call sets. A thread keeps its own; the machine
// code behind them is shared by oneDNN's cache.
struct Product {
  dnnl::memory a, b, c;
  dnnl::matmul primitive;

  explicit Product(const Key& key)
      : a(matrix(key.m, key.k, key.lda, dnnl::memory::data_type::bf16), engine(), nullptr),
        b(matrix(key.k, key.n, key.ldb, dnnl::memory::data_type::bf16), engine(), nullptr),
        c(matrix(key.m, key.n, key.ldc, dnnl::memory::data_type::f32), engine(), nullptr) {
    dnnl::primitive_attr attributes;
    if (key.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::desc desc(a.get_desc(), b.get_desc(), c.get_desc());  // outlives the search
    dnnl::matmul::primitive_desc plan(desc, attributes, engine());
    // Its first choice ("brg:") is for rows without gaps alone: a tile of a wider matrix would get
    // the second, and other bits than the same numbers by themselves.
    while (std::string_view(plan.impl_info_str()).starts_with("brg:") && plan.next_impl()) {
    }
    primitive = dnnl::matmul(plan);
  }

  static dnnl::memory::desc matrix(int64_t rows, int64_t cols, int64_t stride,
                                   dnnl::memory::data_type type) {
    return {{rows, cols}, type, dnnl::memory::dims{stride, 1}};
  }
};

Product& product_for(const Key& key) {
  thread_local std::unordered_map<Key, Product, KeyHash> products;
  constexpr size_t kMost = 512;  // a model has a few dozen shapes
  if (products.size() >= kMost) products.clear();
  return products.try_emplace(key, key).first->second;
}

// A row-major matrix: the data itself, or a copy of the transpose in `out`.
Matrix<BFloat16> row_major(Matrix<BFloat16> a, int64_t rows, int64_t cols, int slot) {
  if (a.col == 1 && a.row >= cols) return a;
  return pack(a, rows, cols, rows, cols, thread_scratch<BFloat16>(slot, rows * cols));
}

}  // namespace

bool has_bf16_products() { return __builtin_cpu_supports("avx512bf16"); }

// AMD's dot product of pairs runs at the rate of its f32 FMA: twice the products. Intel's has a
// quarter of that rate (86 GFLOP/s a core against 165 in f32, Emerald Rapids): there only the
// matrix unit, AMX, gains.
bool bf16_products_pay() {
  static const bool pay =
      has_bf16_products() &&
      (__builtin_cpu_is("amd") || dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx);
  return pay;
}

void multiply_bf16(int64_t m, int64_t n, int64_t k, Matrix<BFloat16> a, Matrix<BFloat16> b,
                   bool accumulate, float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {  // oneDNN divides by it
    if (!accumulate) clear(m, n, c, ldc);
    return;
  }
  keep_onednn_on_this_thread();
  a = row_major(a, m, k, kLeftCopy);
  b = row_major(b, k, n, kRightCopy);
  Product& product = product_for({m, n, k, a.row, b.row, ldc, accumulate});
  product.a.set_data_handle(const_cast<BFloat16*>(a.data));
  product.b.set_data_handle(const_cast<BFloat16*>(b.data));
  product.c.set_data_handle(c);
  thread_local dnnl::stream stream(engine());
  product.primitive.execute(
      stream,
      {{DNNL_ARG_SRC, product.a}, {DNNL_ARG_WEIGHTS, product.b}, {DNNL_ARG_DST, product.c}});
  stream.wait();
}

}  // namespace tessera::cpu
