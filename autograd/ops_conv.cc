// Convolutions. The transposed one is the plain one's dx, with the roles of forward and backward
// exchanged.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

struct ConvShape {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
};

int64_t conv_size(int64_t size, int64_t kernel, const ConvShape& s) {
  return (size + 2 * s.padding - s.dilation * (kernel - 1) - 1) / s.stride + 1;
}

void check_conv(const char* op, const Tensor& x, const Tensor& w, int64_t channels,
                const ConvShape& s) {
  TESSERA_CHECK(s.stride > 0 && s.padding >= 0 && s.dilation > 0 && s.groups > 0,
                "[{}] stride {}, padding {}, dilation {}, groups {}", op, s.stride, s.padding,
                s.dilation, s.groups);
  TESSERA_CHECK(x.size(1) == channels,
                "[{}] weight has {} input channels, x has {}: x {}, weight {}", op, channels,
                x.size(1), describe(x), describe(w));
  TESSERA_CHECK(x.dtype() == w.dtype() && is_floating(x.dtype()),
                "[{}] dtypes differ or are not floating: x {}, weight {}", op, describe(x),
                describe(w));
}

void check_four(const char* op, const Tensor& x, const Tensor& w) {
  TESSERA_CHECK(x.defined() && w.defined() && x.ndim() == 4 && w.ndim() == 4 && w.numel() > 0,
                "[{}] x {} and weight {} must have four dimensions", op, describe(x), describe(w));
}

ConvArgs conv_args(const Tensor& x, const Tensor& w, const Tensor& y, const ConvShape& s) {
  return {x.view(), w.view(), y.view(), s.stride, s.padding, s.dilation, s.groups};
}

Tensor conv_forward(const Tensor& x, const Tensor& w, const Shape& shape, const ConvShape& s) {
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  const Tensor xc = raw::contiguous(x), wc = raw::contiguous(w);
  if (y.numel() > 0) y.backend().conv2d(conv_args(xc, wc, y, s));
  return y;
}
Tensor conv_dx(const Shape& shape, const Tensor& w, const Tensor& dy, const ConvShape& s) {
  Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
  const Tensor wc = raw::contiguous(w), dyc = raw::contiguous(dy);
  if (dx.numel() > 0) dx.backend().conv2d_dx(conv_args(dx, wc, dyc, s));
  return dx;
}
Tensor conv_dw(const Tensor& x, const Shape& shape, const Tensor& dy, const ConvShape& s) {
  Tensor dw = Tensor::empty(shape, dy.dtype(), dy.device());
  const Tensor xc = raw::contiguous(x), dyc = raw::contiguous(dy);
  dw.backend().conv2d_dw(conv_args(xc, dw, dyc, s));
  return dw;
}

struct Conv2dOp {
  static constexpr const char* kName = "conv2d";
  static constexpr CastPolicy kCast = cast_low(2);
  ConvShape s;
  Saved x, w;
  Shape shape_x, shape_w;

  Tensor forward(Wants wants, const Tensor& in, const Tensor& weight) {
    check_four(kName, in, weight);
    check_conv(kName, in, weight, weight.size(1) * s.groups, s);
    TESSERA_CHECK(weight.size(0) % s.groups == 0, "[conv2d] {} outputs in {} groups: weight {}",
                  weight.size(0), s.groups, describe(weight));
    const int64_t oh = conv_size(in.size(2), weight.size(2), s);
    const int64_t ow = conv_size(in.size(3), weight.size(3), s);
    TESSERA_CHECK(oh > 0 && ow > 0, "[conv2d] weight {} does not fit x {}", describe(weight),
                  describe(in));
    shape_x = in.shape();
    shape_w = weight.shape();
    if (wants[1]) x = Saved(in);
    if (wants[0]) w = Saved(weight);
    return conv_forward(in, weight, {in.size(0), weight.size(0), oh, ow}, s);
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    return {node.wants(0) ? conv_dx(shape_x, w.get(kName), dy, s) : Tensor(),
            node.wants(1) ? conv_dw(x.get(kName), shape_w, dy, s) : Tensor()};
  }
};

// w (C, O, kh, kw): as the weight of a plain convolution it maps the output back to x.
struct ConvTranspose2dOp {
  static constexpr const char* kName = "conv_transpose2d";
  static constexpr CastPolicy kCast = cast_low(2);
  ConvShape s;
  int64_t output_padding = 0;
  Saved x, w;
  Shape shape_w;

  Tensor forward(Wants wants, const Tensor& in, const Tensor& weight) {
    check_four(kName, in, weight);
    check_conv(kName, in, weight, weight.size(0), s);
    TESSERA_CHECK(output_padding >= 0 && output_padding < s.stride,
                  "[conv_transpose2d] output padding {} must be below the stride {}",
                  output_padding, s.stride);
    const auto grown = [&](int64_t size, int64_t kernel) {
      return (size - 1) * s.stride - 2 * s.padding + kernel + output_padding;
    };
    const Shape shape{in.size(0), weight.size(1), grown(in.size(2), weight.size(2)),
                      grown(in.size(3), weight.size(3))};
    TESSERA_CHECK(shape[2] > 0 && shape[3] > 0, "[conv_transpose2d] weight {} does not fit x {}",
                  describe(weight), describe(in));
    shape_w = weight.shape();
    if (wants[1]) x = Saved(in);
    if (wants[0]) w = Saved(weight);
    return conv_dx(shape, weight, in, s);
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    Tensor dx, dw;
    if (node.wants(0)) {
      const Tensor weight = w.get(kName);
      dx = conv_forward(dy, weight,
                        {dy.size(0), weight.size(0), conv_size(dy.size(2), weight.size(2), s),
                         conv_size(dy.size(3), weight.size(3), s)},
                        s);
    }
    if (node.wants(1)) dw = conv_dw(dy, shape_w, x.get(kName), s);
    return {dx, dw};
  }
};

Tensor with_bias(const char* op, const Tensor& y, const Tensor& b) {
  if (!b.defined()) return y;
  TESSERA_CHECK(b.ndim() == 1 && b.size(0) == y.size(1) && may_meet(b, y),
                "[{}] bias {} does not fit the output {}", op, describe(b), describe(y));
  return y + reshape(to(b, y.dtype()), {1, b.numel(), 1, 1});  // autocast: the sum stays low
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, int64_t stride, int64_t padding,
              int64_t dilation, int64_t groups) {
  return with_bias("conv2d",
                   apply(Conv2dOp{{stride, padding, dilation, groups}, {}, {}, {}, {}}, x, w), b);
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b, int64_t stride,
                        int64_t padding, int64_t output_padding) {
  return with_bias(
      "conv_transpose2d",
      apply(ConvTranspose2dOp{{stride, padding, 1, 1}, output_padding, {}, {}, {}}, x, w), b);
}

}  // namespace tessera
