// The guarded blocks, and the waist's functions one by one.
#include "tests/ops/guard_backend.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/backend.h"

namespace tessera::ops_test {
namespace {

constexpr uint8_t kMarginByte = 0xC7;
constexpr uint8_t kFreshByte = 0xFF;  // a NaN in every floating dtype
constexpr int64_t kMargin = 192;      // bytes: a multiple of 64, as blocks are

std::string& report() {
  static std::string text;
  return text;
}

void fault(const char* kernel, const std::string& what) {
  if (report().empty()) report() = std::string(kernel) + ": " + what;
}

Backend* the_real = nullptr;
Backend& real() { return *the_real; }
bool watching = false, aligned = false;
int64_t products = 0;

// An output of one kernel call, for the length of the call: a block of the device's memory, and its
// image on the host.
class Guarded {
 public:
  // `reads`: the kernel accumulates into what is there.
  Guarded(const char* kernel, const View& out, bool reads = false)
      : kernel_(kernel), out_(out), moved_(out), size_(static_cast<int64_t>(size_of(out.dtype))) {
    if (!watching || out.data == nullptr || out.numel() == 0) return;
    for (int d = 0; d < out.ndim; ++d) {
      const int64_t reach = (out.shape[d] - 1) * out.stride[d];
      (reach < 0 ? lowest_ : highest_) += reach;
    }
    image_.assign(static_cast<size_t>((highest_ - lowest_ + 2) * size_ + 2 * kMargin), kMarginByte);
    block_ = static_cast<char*>(real().allocator().allocate(image_.size()));
    moved_.data = block_ + first();
    std::vector<char> original = read_original();
    each_element(
        [&](char* from, char* to) {
          if (reads) {
            std::memcpy(to, from, static_cast<size_t>(size_));
          } else {
            std::memset(to, kFreshByte, static_cast<size_t>(size_));
          }
        },
        original);
    real().copy_from_host(block_, image_.data(), image_.size());
  }

  // Checks the block and hands the result on.
  ~Guarded() {
    if (block_ == nullptr) return;
    real().copy_to_host(image_.data(), block_, image_.size());
    std::vector<char> original = read_original();
    each_element(
        [&](char* to, char* element) {
          const auto fresh = [](char byte) { return static_cast<uint8_t>(byte) == kFreshByte; };
          if (is_floating(out_.dtype) && std::all_of(element, element + size_, fresh)) {
            fault(kernel_, "left an element of its result unwritten");
          }
          std::memcpy(to, element, static_cast<size_t>(size_));
          std::memset(element, kMarginByte, static_cast<size_t>(size_));
        },
        original);
    real().copy_from_host(lowest_address(), original.data(), original.size());
    if (std::any_of(image_.begin(), image_.end(), [](uint8_t b) { return b != kMarginByte; })) {
      fault(kernel_, "wrote outside its result");
    }
    real().allocator().release(block_, image_.size());
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  const View& view() const { return moved_; }

 private:
  // Where the element at index (0, ..., 0) stands in the block.
  int64_t first() const { return kMargin + (aligned ? 0 : size_) - lowest_ * size_; }
  char* lowest_address() const { return static_cast<char*>(out_.data) + lowest_ * size_; }

  std::vector<char> read_original() const {
    std::vector<char> bytes(static_cast<size_t>((highest_ - lowest_ + 1) * size_));
    real().copy_to_host(bytes.data(), lowest_address(), bytes.size());
    return bytes;
  }

  // visit(its place in `original`, its place in the image)
  template <class Visit>
  void each_element(Visit visit, std::vector<char>& original) {
    int64_t index[kMaxDims] = {};
    for (int64_t left = out_.numel(); left > 0; --left) {
      int64_t at = 0;
      for (int d = 0; d < out_.ndim; ++d) at += index[d] * out_.stride[d];
      visit(original.data() + (at - lowest_) * size_,
            reinterpret_cast<char*>(image_.data()) + first() + at * size_);
      for (int d = out_.ndim - 1; d >= 0 && ++index[d] == out_.shape[d]; --d) index[d] = 0;
    }
  }

  const char* kernel_;
  View out_, moved_;
  int64_t size_, lowest_ = 0, highest_ = 0;  // elements, from index (0, ..., 0)
  char* block_ = nullptr;
  std::vector<uint8_t> image_;
};

class GuardBackend final : public Backend {
 public:
  CachingAllocator& allocator() override { return real().allocator(); }
  void copy_from_host(void* device, const void* host, size_t bytes) override {
    real().copy_from_host(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, size_t bytes) override {
    real().copy_to_host(host, device, bytes);
  }
  void synchronize() override {}
  std::unique_ptr<Transfer> transfer(void* device, size_t bytes) override {
    return real().transfer(device, bytes);
  }
  std::string describe() const override { return "guards before " + real().describe(); }

  void copy(const View& src, const View& dst) override {
    real().copy(src, Guarded("copy", dst).view());
  }
  void fill(const View& dst, double value) override {
    real().fill(Guarded("fill", dst).view(), value);
  }
  void unary(UnaryOp op, ScalarArgs args, const View& x, const View& y) override {
    real().unary(op, args, x, Guarded("unary", y).view());
  }
  void unary_backward(UnaryOp op, ScalarArgs args, const View& saved, const View& dy,
                      const View& dx) override {
    real().unary_backward(op, args, saved, dy, Guarded("unary_backward", dx).view());
  }
  void scale_by(const View& by, double factor, const View& x) override {
    real().scale_by(by, factor, Guarded("scale_by", x, true).view());
  }
  void binary(BinaryOp op, const View& a, const View& b, const View& y) override {
    real().binary(op, a, b, Guarded("binary", y).view());
  }
  void binary_backward(BinaryOp op, const View& a, const View& b, const View& dy, const View& da,
                       const View& db) override {
    real().binary_backward(op, a, b, dy, Guarded("binary_backward", da).view(),
                           Guarded("binary_backward", db).view());
  }
  void compare(CompareOp op, const View& a, const View& b, const View& y) override {
    real().compare(op, a, b, Guarded("compare", y).view());
  }
  void where(const View& condition, const View& a, const View& b, const View& y) override {
    real().where(condition, a, b, Guarded("where", y).view());
  }

  void reduce(ReduceOp op, const View& x, const View& y) override {
    real().reduce(op, x, Guarded("reduce", y).view());
  }
  void argmax(const View& x, const View& y) override {
    real().argmax(x, Guarded("argmax", y).view());
  }
  void cumsum(const View& x, const View& y) override {
    real().cumsum(x, Guarded("cumsum", y).view());
  }
  void argsort(const View& x, const View& y) override {
    real().argsort(x, Guarded("argsort", y).view());
  }

  bool products_depend_on_strides() const override { return real().products_depend_on_strides(); }
  void gemm(const GemmArgs& args) override {
    ++products;
    const Guarded c("gemm", args.c, args.beta != 0);
    GemmArgs moved = args;
    moved.c = c.view();
    real().gemm(moved);
  }
  void attention(const AttentionArgs& args) override {
    const Guarded out("attention", args.out), lse("attention", args.lse);
    AttentionArgs moved = args;
    moved.out = out.view();
    moved.lse = lse.view();
    real().attention(moved);
  }
  void attention_backward(const AttentionBackwardArgs& args) override {
    const Guarded dq("attention_backward", args.dq), dk("attention_backward", args.dk),
        dv("attention_backward", args.dv), dbias("attention_backward", args.dbias);
    AttentionBackwardArgs moved = args;
    moved.dq = dq.view();
    moved.dk = dk.view();
    moved.dv = dv.view();
    moved.dbias = dbias.view();
    real().attention_backward(moved);
  }
  void conv2d(const ConvArgs& args) override {
    ++products;
    const Guarded y("conv2d", args.y);
    ConvArgs moved = args;
    moved.y = y.view();
    real().conv2d(moved);
  }
  void conv2d_dx(const ConvArgs& args) override {
    ++products;
    const Guarded x("conv2d_dx", args.x);
    ConvArgs moved = args;
    moved.x = x.view();
    real().conv2d_dx(moved);
  }
  void conv2d_dw(const ConvArgs& args) override {
    ++products;
    const Guarded w("conv2d_dw", args.w);
    ConvArgs moved = args;
    moved.w = w.view();
    real().conv2d_dw(moved);
  }

  void softmax(const View& x, const View& y) override {
    real().softmax(x, Guarded("softmax", y).view());
  }
  void softmax_backward(const View& y, const View& dy, const View& dx) override {
    real().softmax_backward(y, dy, Guarded("softmax_backward", dx).view());
  }
  void log_softmax(const View& x, const View& y) override {
    real().log_softmax(x, Guarded("log_softmax", y).view());
  }
  void log_softmax_backward(const View& y, const View& dy, const View& dx) override {
    real().log_softmax_backward(y, dy, Guarded("log_softmax_backward", dx).view());
  }
  void layer_norm(const LayerNormArgs& args) override {
    const Guarded sum("layer_norm", args.sum), y("layer_norm", args.y),
        mean("layer_norm", args.mean), rstd("layer_norm", args.rstd);
    LayerNormArgs moved = args;
    moved.sum = sum.view();
    moved.y = y.view();
    moved.mean = mean.view();
    moved.rstd = rstd.view();
    real().layer_norm(moved);
  }
  void layer_norm_backward(const LayerNormBackwardArgs& args) override {
    const Guarded dx("layer_norm_backward", args.dx), dr("layer_norm_backward", args.dr),
        dw("layer_norm_backward", args.dw), db("layer_norm_backward", args.db);
    LayerNormBackwardArgs moved = args;
    moved.dx = dx.view();
    moved.dr = dr.view();
    moved.dw = dw.view();
    moved.db = db.view();
    real().layer_norm_backward(moved);
  }
  void bias_gelu(const View& x, const View& b, const View& y) override {
    real().bias_gelu(x, b, Guarded("bias_gelu", y).view());
  }
  void bias_gelu_backward(const View& x, const View& b, const View& dy, const View& dx,
                          const View& db) override {
    real().bias_gelu_backward(x, b, dy, Guarded("bias_gelu_backward", dx).view(),
                              Guarded("bias_gelu_backward", db).view());
  }
  void patch_loss(const PatchLossArgs& args) override {
    const Guarded losses("patch_loss", args.losses), diff("patch_loss", args.diff);
    PatchLossArgs moved = args;
    moved.losses = losses.view();
    moved.diff = diff.view();
    real().patch_loss(moved);
  }
  void cross_entropy(const CrossEntropyArgs& args) override {
    const Guarded losses("cross_entropy", args.losses), dlogits("cross_entropy", args.dlogits);
    CrossEntropyArgs moved = args;
    moved.losses = losses.view();
    moved.dlogits = dlogits.view();
    real().cross_entropy(moved);
  }

  void gather(const View& x, const View& index, const View& y) override {
    real().gather(x, index, Guarded("gather", y).view());
  }
  void scatter_add(const View& s, const View& index, const View& x) override {
    real().scatter_add(s, index, Guarded("scatter_add", x, true).view());
  }
  void patches(const PatchesArgs& args) override {
    const Guarded y("patches", args.y);
    PatchesArgs moved = args;
    moved.y = y.view();
    real().patches(moved);
  }
  void place_tokens(const PlaceTokensArgs& args) override {
    const Guarded y("place_tokens", args.y);
    PlaceTokensArgs moved = args;
    moved.y = y.view();
    real().place_tokens(moved);
  }
  void place_tokens_backward(const PlaceTokensArgs& args) override {
    const Guarded x("place_tokens_backward", args.x), extra("place_tokens_backward", args.extra);
    PlaceTokensArgs moved = args;
    moved.x = x.view();
    moved.extra = extra.view();
    real().place_tokens_backward(moved);
  }
  bool index_in_range(const View& index, int64_t n) override {
    return real().index_in_range(index, n);
  }

  void uniform(RandomKey key, const View& y) override {
    real().uniform(key, Guarded("uniform", y).view());
  }
  void normal(RandomKey key, const View& y) override {
    real().normal(key, Guarded("normal", y).view());
  }
  void dropout(RandomKey key, double p, int64_t group, const View& x, const View& y) override {
    real().dropout(key, p, group, x, Guarded("dropout", y).view());
  }

  void pictures(const PictureArgs& args) override {
    const Guarded out("pictures", args.out);
    PictureArgs moved = args;
    moved.out = out.view();
    real().pictures(moved);
  }

  void judge_step(const StepRule& rule, const View& losses, const View& sum_squares,
                  StepState* state) override {
    real().judge_step(rule, losses, sum_squares, state);
  }
  void adamw(const AdamWArgs& args) override {
    const Guarded param("adamw", args.param, true), first("adamw", args.exp_avg, true),
        second("adamw", args.exp_avg_sq, true);
    AdamWArgs moved = args;
    moved.param = param.view();
    moved.exp_avg = first.view();
    moved.exp_avg_sq = second.view();
    real().adamw(moved);
  }
  int64_t first_nonfinite(const View& x) override { return real().first_nonfinite(x); }
  std::vector<GemmImplementation> gemm_implementations() override { return {}; }
};

Backend* guard_backend() {
  static GuardBackend* backend = new GuardBackend;
  return backend;
}

}  // namespace

void install_guard_device(Device device) {
  the_real = &backend(device);
  register_backend(kGuardDevice, guard_backend);
}

Watch::Watch(bool at_64_bytes) {
  watching = true;
  aligned = at_64_bytes;
  report().clear();
}
Watch::~Watch() { watching = false; }

const std::string& guard_report() { return report(); }
int64_t guarded_products() { return products; }

}  // namespace tessera::ops_test
