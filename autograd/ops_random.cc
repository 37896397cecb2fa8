// Dropout and drop path. Backward draws the same numbers again from the key: no mask is kept.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

Tensor masked(const Tensor& x, double p, int64_t group, RandomKey key) {
  const Tensor in = raw::contiguous(x);
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device());
  if (in.numel() > 0) in.backend().dropout(key, p, group, in.view(), y.view());
  return y;
}

struct DropoutOp {
  static constexpr const char* kName = "dropout";
  static constexpr CastPolicy kCast = kCastWidest;
  double p = 0;
  int64_t group = 1;  // elements that live and die together
  RandomKey key;
  Tensor forward(Wants, const Tensor& x) { return masked(x, p, group, key); }
  std::vector<Tensor> backward(Node&, const Tensor& dy) { return {masked(dy, p, group, key)}; }
};

void check_probability(const char* op, const Tensor& x, double p) {
  TESSERA_CHECK(x.defined() && is_floating(x.dtype()) && p >= 0 && p < 1,
                "[{}] probability {} must be in [0, 1), x {}", op, p, describe(x));
}

}  // namespace

Tensor dropout(const Tensor& x, double p, RandomKey key) {
  check_probability("dropout", x, p);
  return p == 0 ? x : apply(DropoutOp{p, 1, key}, x);
}

Tensor drop_path(const Tensor& x, double p, RandomKey key) {
  check_probability("drop_path", x, p);
  TESSERA_CHECK(x.ndim() >= 1, "[drop_path] needs a batch: x {}", describe(x));
  if (p == 0 || x.numel() == 0) return x;
  return apply(DropoutOp{p, x.numel() / x.size(0), key}, x);
}

}  // namespace tessera
