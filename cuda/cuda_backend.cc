// CUDA's entry in the registry: the waist's virtual functions, each one call into kernels.h or
// vendor.h. The same file on a GPU and on the emulator.
#include <memory>
#include <utility>

#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "cuda/transfer.h"
#include "cuda/vendor.h"

namespace tessera {
namespace {

// The allocator's pool, for as long as a graph works in it.
class RecordedMemory {
 public:
  explicit RecordedMemory(CachingAllocator& allocator) : allocator_(allocator) {
    allocator_.begin_recording();
  }
  ~RecordedMemory() {
    close();
    allocator_.drop_recording();
  }
  RecordedMemory(const RecordedMemory&) = delete;
  RecordedMemory& operator=(const RecordedMemory&) = delete;

  void close() {
    if (std::exchange(open_, false)) allocator_.end_recording();
  }

 private:
  CachingAllocator& allocator_;
  bool open_ = true;
};

class GraphWithMemory final : public Graph {
 public:
  GraphWithMemory(std::unique_ptr<RecordedMemory> memory, std::unique_ptr<Graph> graph)
      : memory_(std::move(memory)), graph_(std::move(graph)) {}
  void replay() override { graph_->replay(); }

 private:
  std::unique_ptr<RecordedMemory> memory_;
  std::unique_ptr<Graph> graph_;  // gone before its memory
};

class CudaBackend final : public Backend {
 public:
  CachingAllocator& allocator() override { return allocator_; }
  void copy_from_host(void* device, const void* host, size_t bytes) override {
    cuda::copy_from_host(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, size_t bytes) override {
    cuda::copy_to_host(host, device, bytes);
  }
  void synchronize() override { cuda::synchronize(); }
  std::unique_ptr<Transfer> transfer(void* device, size_t bytes) override {
    return cuda::transfer(device, bytes);
  }
  std::unique_ptr<HostCopy> host_copy(size_t bytes) override { return cuda::host_copy(bytes); }
  std::unique_ptr<Moment> moment() override { return cuda::moment(); }
  std::string describe() const override {
    const int64_t own = cuda::vendor::own_products();
    const std::string slow =
        own == 0 ? "" : fmt::format("; {} products by our own kernel, not by cuBLASLt", own);
    return cuda::device_name() + "; " + cuda::vendor::describe() + slow;
  }

  bool has_graphs() const override { return true; }
  std::unique_ptr<Graph> record(const std::function<void()>& work) override {
    auto memory = std::make_unique<RecordedMemory>(allocator_);
    cuda::Recording recording;
    work();
    memory->close();
    return std::make_unique<GraphWithMemory>(std::move(memory), recording.finish());
  }

  void copy(const View& src, const View& dst) override { cuda::copy(src, dst); }
  void fill(const View& dst, double value) override { cuda::fill(dst, value); }
  void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y) override {
    cuda::unary(op, args, x, y);
  }
  void unary_backward(UnaryOp op, ScalarArgs args, const View& saved, const View& dy,
                      const View& dx) override {
    cuda::unary_backward(op, args, saved, dy, dx);
  }
  void scale_by(const View& by, double factor, const View& x) override {
    cuda::scale_by(by, factor, x);
  }
  void binary(BinaryOp op, const View& a, const View& b, const View& y) override {
    cuda::binary(op, a, b, y);
  }
  void binary_backward(BinaryOp op, const View& a, const View& b, const View& dy, const View& da,
                       const View& db) override {
    cuda::binary_backward(op, a, b, dy, da, db);
  }
  void compare(CompareOp op, const View& a, const View& b, const View& y) override {
    cuda::compare(op, a, b, y);
  }
  void where(const View& condition, const View& a, const View& b, const View& y) override {
    cuda::where(condition, a, b, y);
  }

  void reduce(ReduceOp op, const View& x, const View& y) override { cuda::reduce(op, x, y); }
  void argmax(const View& x, const View& y) override { cuda::argmax(x, y); }
  void cumsum(const View& x, const View& y) override { cuda::cumsum(x, y); }
  void argsort(const View& x, const View& y) override { cuda::argsort(x, y); }

  bool products_depend_on_strides() const override {
    return cuda::vendor::gemm_depends_on_strides();
  }
  void gemm(const GemmArgs& args) override { cuda::vendor::gemm(args); }
  void attention(const AttentionArgs& args) override { cuda::attention(args); }
  void attention_backward(const AttentionBackwardArgs& args) override {
    cuda::attention_backward(args);
  }
  void conv2d(const ConvArgs& args) override { cuda::vendor::conv2d(args); }
  void conv2d_dx(const ConvArgs& args) override { cuda::vendor::conv2d_dx(args); }
  void conv2d_dw(const ConvArgs& args) override { cuda::vendor::conv2d_dw(args); }

  void softmax(const View& x, const View& y) override { cuda::softmax(x, y); }
  void softmax_backward(const View& y, const View& dy, const View& dx) override {
    cuda::softmax_backward(y, dy, dx);
  }
  void log_softmax(const View& x, const View& y) override { cuda::log_softmax(x, y); }
  void log_softmax_backward(const View& y, const View& dy, const View& dx) override {
    cuda::log_softmax_backward(y, dy, dx);
  }
  void layer_norm(const LayerNormArgs& args) override { cuda::layer_norm(args); }
  void layer_norm_backward(const LayerNormBackwardArgs& args) override {
    cuda::layer_norm_backward(args);
  }
  void bias_gelu(const View& x, const View& b, const View& y) override { cuda::bias_gelu(x, b, y); }
  void bias_gelu_backward(const View& x, const View& b, const View& dy, const View& dx,
                          const View& db) override {
    cuda::bias_gelu_backward(x, b, dy, dx, db);
  }
  void patch_loss(const PatchLossArgs& args) override { cuda::patch_loss(args); }
  void cross_entropy(const CrossEntropyArgs& args) override { cuda::cross_entropy(args); }

  void gather(const View& x, const View& index, const View& y) override {
    cuda::gather(x, index, y);
  }
  void scatter_add(const View& s, const View& index, const View& x) override {
    cuda::scatter_add(s, index, x);
  }
  void patches(const PatchesArgs& args) override { cuda::patches(args); }
  void place_tokens(const PlaceTokensArgs& args) override { cuda::place_tokens(args); }
  void place_tokens_backward(const PlaceTokensArgs& args) override {
    cuda::place_tokens_backward(args);
  }
  bool index_in_range(const View& index, int64_t n) override {
    return cuda::index_in_range(index, n);
  }

  void uniform(RandomKey key, const View& y) override { cuda::uniform(key, y); }
  void normal(RandomKey key, const View& y) override { cuda::normal(key, y); }
  void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y) override {
    cuda::dropout(key, p, group, x, y);
  }

  void pictures(const PictureArgs& args) override { cuda::pictures(args); }

  void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                  StepState* state) override {
    cuda::judge_step(rule, losses, sum_squares, state);
  }
  void adamw(const AdamWArgs& args) override { cuda::adamw(args); }
  int64_t first_nonfinite(const View& x) override { return cuda::first_nonfinite(x); }
  std::vector<GemmImplementation> gemm_implementations() override {
    const std::vector<DType> all = {DType::kF32, DType::kF64, DType::kF16, DType::kBF16};
    return {{"tessera", all, &cuda::vendor::gemm}, {"own", all, &cuda::gemm}};
  }

 private:
  CachingAllocator allocator_{cuda::device_allocate,
                              [](void* block, size_t) { cuda::device_free(block); }};
};

// Never destroyed: tensors in static storage may outlive any order of destructors.
Backend* cuda_backend() {
  static CudaBackend* backend = new CudaBackend;
  return backend;
}

const bool registered = [] {
  register_backend(Device::kCuda, cuda_backend, cuda::why_unavailable);
  return true;
}();

}  // namespace
}  // namespace tessera
