// Normalisation over rows: softmax, log-softmax, layer norm; batch and group norm are compositions.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "autograd/ops_support.h"
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
Tensor statistics(const Tensor& x) {  // one number for each row
  return Tensor::empty({x.numel() / x.shape().back()}, statistics_dtype(x), x.device());
}

struct SoftmaxKernels {
  static constexpr const char* kName = "softmax";
  static constexpr auto kForward = &Backend::softmax, kBackward = &Backend::softmax_backward;
};
struct LogSoftmaxKernels {
  static constexpr const char* kName = "log_softmax";
  static constexpr auto kForward = &Backend::log_softmax,
                        kBackward = &Backend::log_softmax_backward;
};

// Over the last dimension; keeps the result alone.
template <class Kernels>
struct RowsOp {
  static constexpr const char* kName = Kernels::kName;
  static constexpr CastPolicy kCast = kCastF32;
  Saved y;
  Tensor forward(Wants wants, const Tensor& x) {
    check_rows(kName, x);
    const Tensor in = raw::contiguous(x);
    Tensor out = Tensor::empty(in.shape(), in.dtype(), in.device());
    if (in.numel() > 0) (in.backend().*Kernels::kForward)(rows_of(in), rows_of(out));
    if (wants.any()) y = Saved(out);
    return out;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    const Tensor out = y.get(kName), in = raw::contiguous(dy);
    Tensor dx = Tensor::empty(out.shape(), out.dtype(), out.device());
    if (dx.numel() > 0) {
      (dx.backend().*Kernels::kBackward)(rows_of(out), rows_of(in), rows_of(dx));
    }
    return {dx};
  }
};

View rows_or_none(const Tensor& t) { return t.defined() ? rows_of(t) : View{}; }

// Ba, Kiros and Hinton, 2016: what a norm keeps and does, of x alone or of x + r. Keeps the rows'
// mean and 1/deviation, not the normalised rows. Under autocast x may be f32 (the residual stream)
// and y low; w and b stay f32.
struct NormalisedRows {
  double eps = 1e-6;
  Saved rows, w, b, mean, rstd;
  DType affine_dtype = DType::kF32, result_dtype = DType::kF32;  // of w and b; of y

  // Of `in`, all contiguous; where there is a branch r, `in` is first made of x and r.
  Tensor forward(const char* op, Wants wants, const Tensor& x, const Tensor& r, const Tensor& in,
                 const Tensor& w_any, const Tensor& b_any) {
    const int64_t d = in.shape().back();
    for (const Tensor* p : {&w_any, &b_any}) {
      TESSERA_CHECK(
          !p->defined() || (p->ndim() == 1 && p->size(0) == d &&
                            (p->dtype() == in.dtype() || p->dtype() == statistics_dtype(in))),
          "[{}] weight {}, bias {} do not fit x {}", op, describe(w_any), describe(b_any),
          describe(x));
    }
    TESSERA_CHECK(d > 0, "[{}] rows of x {} are empty", op, describe(x));
    const Tensor weight = w_any.defined() ? raw::contiguous(w_any) : Tensor();
    const Tensor bias = b_any.defined() ? raw::contiguous(b_any) : Tensor();
    const Tensor m = statistics(in), s = statistics(in);
    result_dtype = autocast_result(in.dtype());
    Tensor y = normalised(x, r, in, weight, bias, m, s);
    if (wants.any()) {
      rows = Saved(in);
      if (weight.defined()) w = Saved(weight);
      if (bias.defined()) b = Saved(bias);
      if (w_any.defined()) affine_dtype = w_any.dtype();
      if (b_any.defined()) affine_dtype = b_any.dtype();
      mean = Saved(m);
      rstd = Saved(s);
    }
    return y;
  }

  // From dy and, where something arrived at the rows themselves, dsum: into dx, which may be dsum,
  // dr, dw and db, those that are defined.
  void backward(const char* op, const Tensor& dy, const Tensor& dsum, const Tensor& dx,
                const Tensor& dr, const Tensor& dw, const Tensor& db) const {
    const Tensor in = rows.get(op), weight = w.defined() ? w.get(op) : Tensor();
    if (in.numel() == 0) return;
    in.backend().layer_norm_backward({.x = rows_of(in),
                                      .w = view_or_none(weight),
                                      .mean = mean.get(op).view(),
                                      .rstd = rstd.get(op).view(),
                                      .dy = rows_of(dy),
                                      .dsum = rows_or_none(dsum),
                                      .dx = rows_of(dx),
                                      .dr = rows_or_none(dr),
                                      .dw = view_or_none(dw),
                                      .db = view_or_none(db)});
  }
  Tensor affine_gradient(const Tensor& dy) const {
    return Tensor::zeros({dy.shape().back()}, affine_dtype, dy.device());
  }

  Tensor made_again(const char* op) const {
    const Tensor in = rows.get(op);
    return normalised(in, {}, in, w.defined() ? w.get(op) : Tensor(),
                      b.defined() ? b.get(op) : Tensor(), statistics(in), statistics(in));
  }

 private:
  Tensor normalised(const Tensor& x, const Tensor& r, const Tensor& in, const Tensor& weight,
                    const Tensor& bias, const Tensor& m, const Tensor& s) const {
    Tensor y = Tensor::empty(in.shape(), result_dtype, in.device());
    if (in.numel() == 0) return y;
    in.backend().layer_norm({.x = rows_of(x),
                             .r = rows_or_none(r),
                             .sum = r.defined() ? rows_of(in) : View{},
                             .w = view_or_none(weight),
                             .b = view_or_none(bias),
                             .eps = eps,
                             .y = rows_of(y),
                             .mean = m.view(),
                             .rstd = s.view()});
    return y;
  }
};

struct LayerNormOp {
  static constexpr const char* kName = "layer_norm";
  static constexpr CastPolicy kCast = kCastInside;
  NormalisedRows norm;

  Tensor forward(Wants wants, const Tensor& x, const Tensor& w, const Tensor& b) {
    check_rows(kName, x);
    const Tensor in = raw::contiguous(x);
    return norm.forward(kName, wants, in, {}, in, w, b);
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy_any) {
    const Tensor dy = raw::contiguous(dy_any);
    const DType dtype = norm.rows.get(kName).dtype();
    Tensor dx = Tensor::empty(dy.shape(), dtype, dy.device()), dw, db;
    if (node.wants(1)) dw = norm.affine_gradient(dy);
    if (node.wants(2)) db = norm.affine_gradient(dy);
    norm.backward(kName, dy, {}, dx, {}, dw, db);
    return {dx, dw, db};
  }
  bool can_recompute(int) const { return true; }
  Tensor recompute() { return norm.made_again(kName); }
};

// The sum is kept as the norm's input; it is the next addition's as well. Its gradient and the
// norm's are joined on the way to x and r, which have one gradient, each in its own dtype.
struct AddLayerNormOp {
  static constexpr const char* kName = "add_layer_norm";
  static constexpr CastPolicy kCast = kCastInside;
  NormalisedRows norm;
  DType dtype_x = DType::kF32, dtype_r = DType::kF32;

  std::vector<Tensor> forward(Wants wants, const Tensor& x_any, const Tensor& r_any,
                              const Tensor& w, const Tensor& b) {
    check_rows(kName, x_any);
    check_rows(kName, r_any);
    TESSERA_CHECK(x_any.shape() == r_any.shape() && may_meet(x_any, r_any),
                  "[add_layer_norm] x {} and branch {} do not fit", describe(x_any),
                  describe(r_any));
    const Tensor x = raw::contiguous(x_any), r = raw::contiguous(r_any);
    dtype_x = x.dtype();
    dtype_r = r.dtype();
    const Tensor sum =
        Tensor::empty(x.shape(), dtype_x == dtype_r ? dtype_x : DType::kF32, x.device());
    Tensor normed = norm.forward(kName, wants, x, r, sum, w, b);
    return {sum, normed};
  }
  std::vector<Tensor> backward(Node& node, const std::vector<Tensor>& douts) {
    const Tensor &dsum_any = douts[0], &dy_any = douts[1];
    if (!dy_any.defined()) {  // nobody asked for the norm
      return {raw::to(dsum_any, dtype_x), raw::to(dsum_any, dtype_r), {}, {}};
    }
    // Where nobody else looks at dsum, dx takes its place.
    const bool in_place = dsum_any.defined() && dsum_any.is_unshared() &&
                          dsum_any.is_contiguous() && dsum_any.dtype() == dtype_x;
    const Tensor dsum = dsum_any.defined() ? raw::contiguous(dsum_any) : Tensor();
    const Tensor dy = raw::contiguous(dy_any);
    const Tensor dx = in_place ? dsum : Tensor::empty(dy.shape(), dtype_x, dy.device());
    Tensor dr = dx, dw, db;
    if (dtype_r != dtype_x) dr = Tensor::empty(dy.shape(), dtype_r, dy.device());
    if (node.wants(2)) dw = norm.affine_gradient(dy);
    if (node.wants(3)) db = norm.affine_gradient(dy);
    norm.backward(kName, dy, dsum, dx, dtype_r != dtype_x ? dr : Tensor(), dw, db);
    return {dx, dr, dw, db};
  }
  bool can_recompute(int output) const { return output == 1; }
  Tensor recompute() { return norm.made_again(kName); }
};

// The dimension is brought to the end and back.
template <class Kernels>
Tensor over_dimension(const Tensor& x, int64_t dim) {
  check_rows(Kernels::kName, x);
  const int d = normalize_dim(Kernels::kName, dim, x.ndim());
  if (d == x.ndim() - 1) return apply(RowsOp<Kernels>{}, x);
  return transpose(apply(RowsOp<Kernels>{}, transpose(x, d, -1)), d, -1);
}

// Affine terms on the channels of x (N, C, ...), w and b (C,) or undefined.
void check_affine(const char* op, const Tensor& x, const Tensor& w, const Tensor& b) {
  for (const Tensor* p : {&w, &b}) {
    TESSERA_CHECK(!p->defined() || (p->ndim() == 1 && p->size(0) == x.size(1) && may_meet(*p, x)),
                  "[{}] weight {}, bias {} do not fit x {}", op, describe(w), describe(b),
                  describe(x));
  }
}
Tensor affine(Tensor y, const Tensor& w, const Tensor& b) {
  Shape per_channel = Dims::filled(y.ndim(), 1);
  per_channel[1] = y.size(1);
  if (w.defined()) y = y * reshape(w, per_channel);
  if (b.defined()) y = y + reshape(b, per_channel);
  return y;
}

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim) { return over_dimension<SoftmaxKernels>(x, dim); }
Tensor log_softmax(const Tensor& x, int64_t dim) {
  return over_dimension<LogSoftmaxKernels>(x, dim);
}

Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  LayerNormOp op;
  op.norm.eps = eps;
  return apply(std::move(op), x, w, b);
}
NormedSum add_layer_norm(const Tensor& x, const Tensor& r, const Tensor& w, const Tensor& b,
                         double eps) {
  AddLayerNormOp op;
  op.norm.eps = eps;
  const std::vector<Tensor> both = apply(std::move(op), x, r, w, b);
  return {both[0], both[1]};
}

// Ioffe and Szegedy, 2015. A channel's values over the batch form a row: layer norm without
// affine terms on (C, N...), then the affine terms on the channels.
Tensor batch_norm_train(const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        BatchStatistics* out) {
  TESSERA_CHECK(x.defined() && x.ndim() >= 2 && x.numel() > x.size(1),
                "[batch_norm_train] needs more than one value for each channel: x {}", describe(x));
  check_affine("batch_norm_train", x, w, b);
  const Tensor channels = transpose(x, 0, 1);  // (C, N, ...)
  const Tensor rows = reshape(channels, {x.size(1), x.numel() / x.size(1)});
  const Tensor y = transpose(reshape(layer_norm(rows, {}, {}, eps), channels.shape()), 0, 1);
  if (out != nullptr) {
    const NoGrad no_grad;
    const Tensor values = rows.detach();
    out->mean = mean(values, {1});
    out->var = var(values, {1}, false, false);
  }
  return affine(y, w, b);
}

// Wu and He, 2018: layer norm of a reshape.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& w, const Tensor& b, double eps) {
  TESSERA_CHECK(
      x.defined() && x.ndim() >= 2 && groups > 0 && x.size(1) % groups == 0 && x.numel() > 0,
      "[group_norm] {} groups do not divide the channels of x {}", groups, describe(x));
  check_affine("group_norm", x, w, b);
  const Tensor rows = reshape(x, {x.size(0) * groups, x.numel() / (x.size(0) * groups)});
  return affine(reshape(layer_norm(rows, {}, {}, eps), x.shape()), w, b);
}

}  // namespace tessera
