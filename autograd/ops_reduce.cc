// Sums, maxima, cumulative sums; mean and variance are compositions.
#include <cmath>

#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/raw.h"

namespace tessera {
namespace {

// The shape of a reduction's result with the reduced dimensions kept as 1.
Shape kept_shape(const char* op, const Shape& shape, const Dims& dims) {
  Shape kept = dims.empty() ? Dims::filled(shape.size(), 1) : shape;
  for (int64_t d : dims) kept[normalize_dim(op, d, shape.size())] = 1;
  return kept;
}

struct SumOp {
  static constexpr const char* kName = "sum";
  static constexpr CastPolicy kCast = kCastF32;
  Dims dims;
  bool keepdim = false;
  Shape before;
  Tensor forward(Wants, const Tensor& x) {
    Tensor y = raw::sum(x, dims, keepdim);
    before = x.shape();
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    return {raw::expand(raw::reshape(dy, kept_shape(kName, before, dims)), before)};
  }
};

// Elements that equal the maximum share its gradient evenly, as torch.amax has it.
struct AmaxOp {
  static constexpr const char* kName = "amax";
  static constexpr CastPolicy kCast = kCastWidest;
  Dims dims;
  bool keepdim = false;
  Saved x, y;
  Tensor forward(Wants wants, const Tensor& in) {
    Tensor out = raw::amax(in, dims, keepdim);
    if (wants.any()) {
      x = Saved(in);
      y = Saved(out);
    }
    return out;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    const Tensor in = x.get(kName);
    const Shape kept = kept_shape(kName, in.shape(), dims);
    const Tensor hit =
        raw::to(raw::compare(CompareOp::kEqual, in, raw::reshape(y.get(kName), kept)), dy.dtype());
    const Tensor share =
        raw::binary(BinaryOp::kDiv, raw::reshape(dy, kept), raw::sum_to(hit, kept));
    return {raw::binary(BinaryOp::kMul, hit, share)};
  }
};

// dx[i] = sum of dy from i on: a cumulative sum read backwards.
struct CumsumOp {
  static constexpr const char* kName = "cumsum";
  static constexpr CastPolicy kCast = kCastF32;
  int64_t dim = 0;
  Tensor forward(Wants, const Tensor& x) { return raw::cumsum(x, dim); }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    return {raw::flip(raw::cumsum(raw::flip(dy, dim), dim), dim)};
  }
};

int64_t reduced_count(const char* op, const Tensor& x, const Dims& dims) {
  TESSERA_CHECK(x.defined(), "[{}] a tensor is missing", op);
  TESSERA_CHECK(is_floating(x.dtype()), "[{}] needs a floating dtype: {}", op, describe(x));
  int64_t n = dims.empty() ? x.numel() : 1;
  for (int64_t d : dims) n *= x.shape()[normalize_dim(op, d, x.ndim())];
  return n;
}

}  // namespace

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply(SumOp{dims, keepdim, {}}, x);
}

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  const double n = static_cast<double>(reduced_count("mean", x, dims));
  return mul_scalar(sum(x, dims, keepdim), 1.0 / n);
}

// Two passes: E[x^2] - E[x]^2 would lose every digit on rows with a large mean.
Tensor var(const Tensor& x, const Dims& dims, bool keepdim, bool unbiased) {
  const int64_t n = reduced_count("var", x, dims);
  const Tensor centred = x - mean(x, dims, true);
  return mul_scalar(sum(square(centred), dims, keepdim),
                    1.0 / static_cast<double>(n - (unbiased ? 1 : 0)));
}

Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply(AmaxOp{dims, keepdim, {}, {}}, x);
}
Tensor argmax(const Tensor& x, int64_t dim, bool keepdim) { return raw::argmax(x, dim, keepdim); }
Tensor argsort(const Tensor& x, int64_t dim) { return raw::argsort(x, dim); }
Tensor cumsum(const Tensor& x, int64_t dim) { return apply(CumsumOp{dim}, x); }

}  // namespace tessera
