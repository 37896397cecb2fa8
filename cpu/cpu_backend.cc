// The CPU's entry in the registry: the waist's virtual functions, each one call into kernels.h.
#include <cstring>
#include <new>

#include "cpu/kernels.h"
#include "cpu/machine.h"
#include "cpu/multiply.h"
#include "cpu/pool.h"

namespace tessera {
namespace {

// The memory itself.
class InPlace final : public Transfer {
 public:
  explicit InPlace(void* memory) : memory_(memory) {}
  void* host() override { return memory_; }
  void send() override {}
  void arrive() override {}

 private:
  void* memory_;
};

class CpuBackend final : public Backend {
 public:
  CachingAllocator& allocator() override { return allocator_; }
  void copy_from_host(void* device, const void* host, size_t bytes) override {
    std::memcpy(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, size_t bytes) override {
    std::memcpy(host, device, bytes);
  }
  void synchronize() override {}
  std::unique_ptr<Transfer> transfer(void* device, size_t) override {
    return std::make_unique<InPlace>(device);
  }
  bool has_fast_products(DType low) const override {
    return low == DType::kBF16 && cpu::bf16_products_pay();
  }
  size_t workspace_bytes() const override { return cpu::scratch_bytes(); }
  std::string describe() const override { return cpu::processor_name(); }

  void copy(const View& src, const View& dst) override { cpu::copy(src, dst); }
  void fill(const View& dst, double value) override { cpu::fill(dst, value); }
  void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y) override {
    cpu::unary(op, args, x, y);
  }
  void unary_backward(UnaryOp op, ScalarArgs args, const View& saved, const View& dy,
                      const View& dx) override {
    cpu::unary_backward(op, args, saved, dy, dx);
  }
  void scale_by(const View& by, double factor, const View& x) override {
    cpu::scale_by(by, factor, x);
  }
  void binary(BinaryOp op, const View& a, const View& b, const View& y) override {
    cpu::binary(op, a, b, y);
  }
  void binary_backward(BinaryOp op, const View& a, const View& b, const View& dy, const View& da,
                       const View& db) override {
    cpu::binary_backward(op, a, b, dy, da, db);
  }
  void compare(CompareOp op, const View& a, const View& b, const View& y) override {
    cpu::compare(op, a, b, y);
  }
  void where(const View& condition, const View& a, const View& b, const View& y) override {
    cpu::where(condition, a, b, y);
  }

  void reduce(ReduceOp op, const View& x, const View& y) override { cpu::reduce(op, x, y); }
  void argmax(const View& x, const View& y) override { cpu::argmax(x, y); }
  void cumsum(const View& x, const View& y) override { cpu::cumsum(x, y); }
  void argsort(const View& x, const View& y) override { cpu::argsort(x, y); }

  void gemm(const GemmArgs& args) override { cpu::gemm(args); }
  void attention(const AttentionArgs& args) override { cpu::attention(args); }
  void attention_backward(const AttentionBackwardArgs& args) override {
    cpu::attention_backward(args);
  }
  void conv2d(const ConvArgs& args) override { cpu::conv2d(args); }
  void conv2d_dx(const ConvArgs& args) override { cpu::conv2d_dx(args); }
  void conv2d_dw(const ConvArgs& args) override { cpu::conv2d_dw(args); }

  void softmax(const View& x, const View& y) override { cpu::softmax(x, y); }
  void softmax_backward(const View& y, const View& dy, const View& dx) override {
    cpu::softmax_backward(y, dy, dx);
  }
  void log_softmax(const View& x, const View& y) override { cpu::log_softmax(x, y); }
  void log_softmax_backward(const View& y, const View& dy, const View& dx) override {
    cpu::log_softmax_backward(y, dy, dx);
  }
  void layer_norm(const LayerNormArgs& args) override { cpu::layer_norm(args); }
  void layer_norm_backward(const LayerNormBackwardArgs& args) override {
    cpu::layer_norm_backward(args);
  }
  void bias_gelu(const View& x, const View& b, const View& y) override { cpu::bias_gelu(x, b, y); }
  void bias_gelu_backward(const View& x, const View& b, const View& dy, const View& dx,
                          const View& db) override {
    cpu::bias_gelu_backward(x, b, dy, dx, db);
  }
  void patch_loss(const PatchLossArgs& args) override { cpu::patch_loss(args); }
  void cross_entropy(const CrossEntropyArgs& args) override { cpu::cross_entropy(args); }

  void gather(const View& x, const View& index, const View& y) override {
    cpu::gather(x, index, y);
  }
  void scatter_add(const View& s, const View& index, const View& x) override {
    cpu::scatter_add(s, index, x);
  }
  void patches(const PatchesArgs& args) override { cpu::patches(args); }
  void place_tokens(const PlaceTokensArgs& args) override { cpu::place_tokens(args); }
  void place_tokens_backward(const PlaceTokensArgs& args) override {
    cpu::place_tokens_backward(args);
  }
  bool index_in_range(const View& index, int64_t n) override {
    return cpu::index_in_range(index, n);
  }

  void uniform(RandomKey key, const View& y) override { cpu::uniform(key, y); }
  void normal(RandomKey key, const View& y) override { cpu::normal(key, y); }
  void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y) override {
    cpu::dropout(key, p, group, x, y);
  }

  void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                  StepState* state) override {
    cpu::judge_step(rule, losses, sum_squares, state);
  }
  void adamw(const AdamWArgs& args) override { cpu::adamw(args); }
  int64_t first_nonfinite(const View& x) override { return cpu::first_nonfinite(x); }
  std::vector<GemmImplementation> gemm_implementations() override {
    return cpu::gemm_implementations();
  }

 private:
  static void* system_allocate(size_t bytes) {
    return ::operator new (bytes, std::align_val_t{64}, std::nothrow);
  }
  static void system_free(void* block, size_t) { ::operator delete (block, std::align_val_t{64}); }

  CachingAllocator allocator_{system_allocate, system_free};
};

// Never destroyed: tensors in static storage may outlive any order of destructors.
Backend* cpu_backend() {
  static CpuBackend* backend = new CpuBackend;
  return backend;
}

const bool registered = [] {
  set_num_threads(cpu::default_num_threads());
  register_backend(Device::kCpu, cpu_backend);
  return true;
}();

}  // namespace
}  // namespace tessera
