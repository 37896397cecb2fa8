// Normalisation over rows: softmax, log-softmax, layer norm; batch and group norm are compositions.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

void check_rows(const char* op, const Tensor& x) {
  TESSERA_CHECK(x.defined() && x.ndim() >= 1 && is_floating(x.dtype()),
                "[{}] needs a floating x with rows: {}", op, describe(x));
}
View rows_of(const Tensor& contiguous) {
  const int64_t n = contiguous.shape().back();
  return raw::reshape(contiguous, {n > 0 ? contiguous.numel() / n : 0, n}).view();
}
DType statistics_dtype(const Tensor& x) {
  return x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
}
Tensor statistics(const Tensor& x) {  // one number for each row
  return Tensor::empty({x.numel() / x.shape().back()}, statistics_dtype(x), x.device());
}

// Over the last dimension; softmax(x, dim) brings its dimension there.
struct SoftmaxOp {
  static constexpr const char* kName = "softmax";
  static constexpr CastPolicy kCast = kCastF32;
  Saved y;
  Tensor forward(Wants wants, const Tensor& x) {
    check_rows(kName, x);
    const Tensor in = raw::contiguous(x);
    Tensor out = Tensor::empty(in.shape(), in.dtype(), in.device());
    if (in.numel() > 0) in.backend().softmax(rows_of(in), rows_of(out));
    if (wants.any()) y = Saved(out);
    return out;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    const Tensor out = y.get(kName), in = raw::contiguous(dy);
    Tensor dx = Tensor::empty(out.shape(), out.dtype(), out.device());
    if (dx.numel() > 0) dx.backend().softmax_backward(rows_of(out), rows_of(in), rows_of(dx));
    return {dx};
  }
};

struct LogSoftmaxOp {
  static constexpr const char* kName = "log_softmax";
  static constexpr CastPolicy kCast = kCastF32;
  Saved y;
  Tensor forward(Wants wants, const Tensor& x) {
    check_rows(kName, x);
    const Tensor in = raw::contiguous(x);
    Tensor out = Tensor::empty(in.shape(), in.dtype(), in.device());
    if (in.numel() > 0) in.backend().log_softmax(rows_of(in), rows_of(out));
    if (wants.any()) y = Saved(out);
    return out;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    const Tensor out = y.get(kName), in = raw::contiguous(dy);
    Tensor dx = Tensor::empty(out.shape(), out.dtype(), out.device());
    if (dx.numel() > 0) dx.backend().log_softmax_backward(rows_of(out), rows_of(in), rows_of(dx));
    return {dx};
  }
};

// Ba, Kiros and Hinton, 2016. Keeps the rows' mean and 1/deviation, not the normalised rows. Under
// autocast x may be f32 (the residual stream) and y low; w and b stay f32.
struct LayerNormOp {
  static constexpr const char* kName = "layer_norm";
  static constexpr CastPolicy kCast = kCastInside;
  double eps = 1e-6;
  Saved x, w, b, mean, rstd;
  DType affine_dtype = DType::kF32, result_dtype = DType::kF32;  // of w and b; of y

  Tensor forward(Wants wants, const Tensor& in_any, const Tensor& w_any, const Tensor& b_any) {
    check_rows(kName, in_any);
    const int64_t d = in_any.shape().back();
    for (const Tensor* p : {&w_any, &b_any}) {
      TESSERA_CHECK(!p->defined() ||
                        (p->ndim() == 1 && p->size(0) == d &&
                         (p->dtype() == in_any.dtype() || p->dtype() == statistics_dtype(in_any))),
                    "[layer_norm] weight {}, bias {} do not fit x {}", describe(w_any),
                    describe(b_any), describe(in_any));
    }
    TESSERA_CHECK(d > 0, "[layer_norm] rows of x {} are empty", describe(in_any));
    const Tensor in = raw::contiguous(in_any);
    const Tensor weight = w_any.defined() ? raw::contiguous(w_any) : Tensor();
    const Tensor bias = b_any.defined() ? raw::contiguous(b_any) : Tensor();
    const Tensor m = statistics(in), r = statistics(in);
    result_dtype = autocast_result(in.dtype());
    Tensor y = normalised(in, weight, bias, m, r);
    if (wants.any()) {
      x = Saved(in);
      if (weight.defined()) w = Saved(weight);
      if (bias.defined()) b = Saved(bias);
      if (w_any.defined()) affine_dtype = w_any.dtype();
      if (b_any.defined()) affine_dtype = b_any.dtype();
      mean = Saved(m);
      rstd = Saved(r);
    }
    return y;
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy_any) {
    const Tensor in = x.get(kName), dy = raw::contiguous(dy_any);
    const Tensor weight = w.defined() ? w.get(kName) : Tensor();
    const int64_t d = in.shape().back();
    Tensor dx = Tensor::empty(in.shape(), in.dtype(), in.device()), dw, db;
    if (node.wants(1)) dw = Tensor::zeros({d}, affine_dtype, in.device());
    if (node.wants(2)) db = Tensor::zeros({d}, affine_dtype, in.device());
    if (in.numel() > 0) {
      in.backend().layer_norm_backward(rows_of(in), view_or_none(weight), mean.get(kName).view(),
                                       rstd.get(kName).view(), rows_of(dy), rows_of(dx),
                                       view_or_none(dw), view_or_none(db));
    }
    return {dx, dw, db};
  }
  bool can_recompute() const { return true; }
  Tensor recompute() {
    const Tensor in = x.get(kName);
    return normalised(in, w.defined() ? w.get(kName) : Tensor(),
                      b.defined() ? b.get(kName) : Tensor(), statistics(in), statistics(in));
  }

 private:
  Tensor normalised(const Tensor& in, const Tensor& weight, const Tensor& bias, const Tensor& m,
                    const Tensor& r) const {
    Tensor y = Tensor::empty(in.shape(), result_dtype, in.device());
    if (in.numel() > 0) {
      in.backend().layer_norm(rows_of(in), view_or_none(weight), view_or_none(bias), eps,
                              rows_of(y), m.view(), r.view());
    }
    return y;
  }
  static View view_or_none(const Tensor& t) { return t.defined() ? t.view() : View{}; }
};

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim) {
  check_rows("softmax", x);
  const int d = normalize_dim("softmax", dim, x.ndim());
  if (d == x.ndim() - 1) return apply(SoftmaxOp{}, x);
  return transpose(apply(SoftmaxOp{}, transpose(x, d, -1)), d, -1);
}

Tensor log_softmax(const Tensor& x, int64_t dim) {
  check_rows("log_softmax", x);
  const int d = normalize_dim("log_softmax", dim, x.ndim());
  if (d == x.ndim() - 1) return apply(LogSoftmaxOp{}, x);
  return transpose(apply(LogSoftmaxOp{}, transpose(x, d, -1)), d, -1);
}

Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  LayerNormOp op;
  op.eps = eps;
  return apply(std::move(op), x, w, b);
}

// Ioffe and Szegedy, 2015. A channel's values over the batch form a row: layer norm without
// affine terms on (C, N...), then the affine terms on the channels.
Tensor batch_norm_train(const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        BatchStatistics* out) {
  TESSERA_CHECK(x.defined() && x.ndim() >= 2 && x.numel() > x.size(1),
                "[batch_norm_train] needs more than one value for each channel: x {}", describe(x));
  for (const Tensor* p : {&w, &b}) {
    TESSERA_CHECK(!p->defined() || (p->ndim() == 1 && p->size(0) == x.size(1) && may_meet(*p, x)),
                  "[batch_norm_train] weight {}, bias {} do not fit x {}", describe(w), describe(b),
                  describe(x));
  }
  const Tensor channels = transpose(x, 0, 1);  // (C, N, ...)
  const Tensor rows = reshape(channels, {x.size(1), x.numel() / x.size(1)});
  Tensor y = transpose(reshape(layer_norm(rows, {}, {}, eps), channels.shape()), 0, 1);
  Shape per_channel = Dims::filled(x.ndim(), 1);
  per_channel[1] = x.size(1);
  if (w.defined()) y = y * reshape(w, per_channel);
  if (b.defined()) y = y + reshape(b, per_channel);
  if (out != nullptr) {
    const NoGrad no_grad;
    const Tensor values = rows.detach();
    out->mean = mean(values, {1});
    out->var = var(values, {1}, false, false);
  }
  return y;
}

// Wu and He, 2018: layer norm of a reshape.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& w, const Tensor& b, double eps) {
  TESSERA_CHECK(
      x.defined() && x.ndim() >= 2 && groups > 0 && x.size(1) % groups == 0 && x.numel() > 0,
      "[group_norm] {} groups do not divide the channels of x {}", groups, describe(x));
  for (const Tensor* p : {&w, &b}) {
    TESSERA_CHECK(!p->defined() || (p->ndim() == 1 && p->size(0) == x.size(1) && may_meet(*p, x)),
                  "[group_norm] weight {}, bias {} do not fit x {}", describe(w), describe(b),
                  describe(x));
  }
  const Tensor rows = reshape(x, {x.size(0) * groups, x.numel() / (x.size(0) * groups)});
  Tensor y = reshape(layer_norm(rows, {}, {}, eps), x.shape());
  Shape per_channel = Dims::filled(x.ndim(), 1);
  per_channel[1] = x.size(1);
  if (w.defined()) y = y * reshape(w, per_channel);
  if (b.defined()) y = y + reshape(b, per_channel);
  return y;
}

}  // namespace tessera
