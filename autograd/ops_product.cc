// Products: matmul, linear, attention.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "autograd/ops_support.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

// y = a b: da = dy b^T, db = a^T dy, each summed to its operand's shape where it was broadcast.
struct MatmulOp {
  static constexpr const char* kName = "matmul";
  static constexpr CastPolicy kCast = cast_low(2);
  Saved a, b;
  Shape shape_a, shape_b;

  Tensor forward(Wants wants, const Tensor& x, const Tensor& y) {
    Tensor out = raw::matmul(x, y);
    if (wants[1]) a = Saved(x);
    if (wants[0]) b = Saved(y);
    if (wants.any()) {
      shape_a = x.shape();
      shape_b = y.shape();
    }
    return out;
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    // Vectors as a row and a column, dy likewise.
    const Shape row = shape_a.size() == 1 ? Shape{1, shape_a[0]} : shape_a;
    const Shape column = shape_b.size() == 1 ? Shape{shape_b[0], 1} : shape_b;
    Shape full = dy.shape();
    if (shape_a.size() == 1) full.insert(full.size() - (shape_b.size() == 1 ? 0 : 1), 1);
    if (shape_b.size() == 1) full.push_back(1);
    const Tensor d = raw::reshape(dy, full);
    Tensor da, db;
    if (node.wants(0)) {
      const Tensor bt = raw::transpose(raw::reshape(b.get(kName), column), -2, -1);
      da = raw::reshape(raw::sum_to(raw::matmul(d, bt), row), shape_a);
    }
    if (node.wants(1)) {
      const Tensor at = raw::transpose(raw::reshape(a.get(kName), row), -2, -1);
      db = raw::reshape(raw::sum_to(raw::matmul(at, d), column), shape_b);
    }
    return {da, db};
  }
};

// y = x w^T + b over the rows of x: dx = dy w, dw = dy^T x, db = column sums of dy.
struct LinearOp {
  static constexpr const char* kName = "linear";
  static constexpr CastPolicy kCast = cast_low(3);
  Saved x, w;
  DType bias_dtype = DType::kF32;  // of what was added

  Tensor forward(Wants wants, const Tensor& in, const Tensor& weight, const Tensor& bias) {
    Tensor y = raw::linear(in, weight, bias);
    if (wants[1]) x = weight.size(0) >= kMadeAgainFrom ? Saved::or_maker(in) : Saved(in);
    if (wants[0]) w = Saved(weight);
    if (wants[2]) bias_dtype = bias.dtype();
    return y;
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy_any) {
    const Tensor dy = raw::contiguous(dy_any);                      // (..., N)
    const Tensor rows = raw::reshape(dy, {-1, dy.shape().back()});  // (M, N)
    Tensor dx, dw, db;
    if (node.wants(1)) {  // first: an input that is made again goes before dx needs room
      const Tensor in = x.get(kName);
      const Tensor inputs = raw::reshape(in, {rows.shape()[0], in.shape().back()});  // (M, K)
      GradSink sink;
      const bool direct = node.take_sink(1, &sink);
      Tensor out = direct ? sink.slot
                          : Tensor::empty({rows.shape()[1], inputs.shape()[1]},
                                          node.gradient_dtype(1, dy.dtype()), dy.device());
      raw::gemm_into(raw::transpose(rows, 0, 1), inputs, out, direct ? sink.beta : 0.0);
      if (!direct) dw = out;
    }
    if (node.wants(0)) dx = raw::linear(dy, raw::transpose(w.get(kName), 0, 1), {});
    if (node.wants(2)) db = raw::sum_rows(rows, node.gradient_dtype(2, bias_dtype));
    return {dx, dw, db};
  }
};

struct AttentionOp {
  static constexpr const char* kName = "attention";
  static constexpr CastPolicy kCast = cast_low(3);
  double scale = 1;
  Saved q, k, v, bias, out, lse;

  Tensor forward(Wants wants, const Tensor& q_in, const Tensor& k_in, const Tensor& v_in,
                 const Tensor& bias_in) {
    check(q_in, k_in, v_in, bias_in);
    const Tensor qs = inner_contiguous(q_in), ks = inner_contiguous(k_in),
                 vs = inner_contiguous(v_in);
    const int64_t b = qs.size(0), h = qs.size(1), n = qs.size(2), d = qs.size(3);
    // The memory is (B, N, H, d), so that merging the heads afterwards moves nothing.
    Tensor y = raw::permute(Tensor::empty({b, n, h, d}, qs.dtype(), qs.device()), {0, 2, 1, 3});
    Tensor row_lse = Tensor::empty({b, h, n}, statistics_dtype(qs), qs.device());
    if (y.numel() > 0) y.backend().attention(args(qs, ks, vs, bias_in, y, row_lse));
    if (wants.any()) {
      q = Saved(qs);
      k = Saved(ks);
      v = Saved(vs);
      if (bias_in.defined()) bias = Saved(bias_in);
      out = Saved(y);
      lse = Saved(row_lse);
    }
    return y;
  }

  std::vector<Tensor> backward(Node& node, const Tensor& dy_any) {
    const Tensor dy = inner_contiguous(dy_any);
    const Tensor qs = q.get(kName), ks = k.get(kName), vs = v.get(kName);
    const Tensor bias_in = bias.defined() ? bias.get(kName) : Tensor();
    const int64_t b = qs.size(0), h = qs.size(1), n = qs.size(2), m = ks.size(2), d = qs.size(3);
    AttentionBackwardArgs back;
    back.forward = args(qs, ks, vs, bias_in, out.get(kName), lse.get(kName));
    back.dout = dy.view();
    Tensor dq, dk, dv;
    if (n == m) {
      // Side by side as a projection to (B, N, 3, H, d) wants them: unbind then copies nothing.
      const Tensor dqkv = Tensor::empty({b, n, 3, h, d}, qs.dtype(), qs.device());
      dq = heads_first(raw::select(dqkv, 2, 0));
      dk = heads_first(raw::select(dqkv, 2, 1));
      dv = heads_first(raw::select(dqkv, 2, 2));
    } else {
      dq = heads_first(Tensor::empty({b, n, h, d}, qs.dtype(), qs.device()));
      dk = heads_first(Tensor::empty({b, m, h, d}, qs.dtype(), qs.device()));
      dv = heads_first(Tensor::empty({b, m, h, d}, qs.dtype(), qs.device()));
    }
    back.dq = dq.view();
    back.dk = dk.view();
    back.dv = dv.view();
    Tensor dbias;
    if (node.wants(3)) {
      dbias = Tensor::zeros({h, n, m}, bias_in.dtype(), bias_in.device());
      back.dbias = dbias.view();
    }
    if (dy.numel() > 0) dy.backend().attention_backward(back);
    if (dbias.defined()) {
      dbias = raw::sum_to(raw::reshape(dbias, {1, h, n, m}), four_d(bias_in).shape());
      dbias = raw::reshape(dbias, bias_in.shape());
    }
    return {dq, dk, dv, dbias};
  }

 private:
  static Tensor heads_first(const Tensor& x) { return raw::permute(x, {0, 2, 1, 3}); }
  static Tensor inner_contiguous(const Tensor& x) {
    return x.strides()[3] == 1 || x.size(3) == 1 ? x : raw::contiguous(x);
  }
  // A bias of fewer dimensions lacks leading ones.
  static Tensor four_d(const Tensor& bias) {
    Shape shape = bias.shape();
    while (shape.size() < 4) shape.insert(0, 1);
    return raw::reshape(bias, shape);
  }

  AttentionArgs args(const Tensor& qs, const Tensor& ks, const Tensor& vs, const Tensor& bias_in,
                     const Tensor& y, const Tensor& row_lse) const {
    AttentionArgs a;
    a.q = qs.view();
    a.k = ks.view();
    a.v = vs.view();
    if (bias_in.defined()) {
      a.bias =
          raw::expand(four_d(bias_in), {qs.size(0), qs.size(1), qs.size(2), ks.size(2)}).view();
    }
    a.scale = scale;
    a.out = y.view();
    a.lse = row_lse.view();
    return a;
  }

  static void check(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias) {
    const bool four = q.defined() && k.defined() && v.defined() && q.ndim() == 4 && k.ndim() == 4 &&
                      v.shape() == k.shape();
    TESSERA_CHECK(four && q.size(0) == k.size(0) && q.size(1) == k.size(1) &&
                      q.size(3) == k.size(3) && k.size(2) > 0,
                  "[attention] q {}, k {}, v {} do not fit", describe(q), describe(k), describe(v));
    const bool wide_bias =
        q.dtype() != DType::kF64 && bias.defined() && bias.dtype() == DType::kF32;
    TESSERA_CHECK(is_floating(q.dtype()) && k.dtype() == q.dtype() && v.dtype() == q.dtype() &&
                      (!bias.defined() || bias.dtype() == q.dtype() || wide_bias),
                  "[attention] dtypes differ: q {}, k {}, v {}, bias {}", describe(q), describe(k),
                  describe(v), describe(bias));
    const int64_t wanted[] = {k.size(2), q.size(2), q.size(1), 1};  // from the last dimension on
    for (int i = 0; bias.defined() && i < bias.ndim(); ++i) {
      TESSERA_CHECK(i < 4 && (bias.size(-1 - i) == 1 || bias.size(-1 - i) == wanted[i]),
                    "[attention] bias {} must broadcast to (1, {}, {}, {})", describe(bias),
                    wanted[2], wanted[1], wanted[0]);
    }
  }
};

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) { return apply(MatmulOp{}, a, b); }
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b) {
  return apply(LinearOp{}, x, w, b);
}
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                 double scale) {
  AttentionOp op;
  op.scale = scale;
  return apply(std::move(op), q, k, v, bias);
}

}  // namespace tessera
