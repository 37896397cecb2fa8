// The elementwise ops of the table as differentiable functions, bias and GELU, where, and casts.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

// Under autocast what amplifies a rounding runs in f32; activations and the like keep their dtype.
constexpr CastPolicy cast_of(UnaryOp op) {
  switch (op) {
    case UnaryOp::kExp:
    case UnaryOp::kLog:
    case UnaryOp::kSqrt:
    case UnaryOp::kRsqrt:
    case UnaryOp::kErf:
    case UnaryOp::kSquare:
    case UnaryOp::kPow:
      return kCastF32;
    default:
      return kCastWidest;
  }
}

// One struct serves every row of the unary table; the name comes with the functor.
template <UnaryOp kOp, const char* kFunction>
struct UnaryNode {
  static constexpr const char* kName = kFunction;
  static constexpr CastPolicy kCast = cast_of(kOp);
  ScalarArgs args;
  Saved saved;

  Tensor forward(Wants wants, const Tensor& x) {
    Tensor y = raw::unary(kOp, x, args);
    // Where nothing is read, any tensor of the shape will do and none is kept.
    if (wants.any() && saves_of(kOp) == Saves::kInput) saved = Saved(x);
    if (wants.any() && saves_of(kOp) == Saves::kOutput) saved = Saved(y);
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    const Tensor read = saves_of(kOp) != Saves::kNothing ? saved.get(kName) : dy;
    if (saves_of(kOp) == Saves::kNothing || !dy.is_unshared() || !dy.is_contiguous()) {
      return {raw::unary_backward(kOp, read, dy, args)};
    }
    raw::unary_backward_(kOp, read, dy, args);  // nobody else looks at dy: dx takes its place
    return {dy};
  }
  bool can_recompute(int) const { return saves_of(kOp) == Saves::kInput; }
  Tensor recompute() { return raw::unary(kOp, saved.get(kName), args); }
};

template <BinaryOp kOp, Saves kSaves, const char* kFunction>
struct BinaryNode {
  static constexpr const char* kName = kFunction;
  static constexpr CastPolicy kCast = kCastWidest;
  Saved a, b;
  Shape shape_a, shape_b;

  Tensor forward(Wants wants, const Tensor& x, const Tensor& y) {
    shape_a = x.defined() ? x.shape() : Shape{};
    shape_b = y.defined() ? y.shape() : Shape{};
    Tensor out = raw::binary(kOp, x, y);
    if (wants.any() && kSaves == Saves::kInput) {
      a = Saved(x);
      b = Saved(y);
    }
    return out;
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    if constexpr (kOp == BinaryOp::kAdd) {  // the gradient passes through, uncopied
      return {node.wants(0) ? raw::sum_to(dy, shape_a) : Tensor(),
              node.wants(1) ? raw::sum_to(dy, shape_b) : Tensor()};
    }
    const bool reads = kSaves == Saves::kInput;
    raw::Pair d = raw::binary_backward(kOp, reads ? a.get(kName) : dy, reads ? b.get(kName) : dy,
                                       dy, node.wants(0), node.wants(1));
    return {node.wants(0) ? raw::sum_to(d.first, shape_a) : Tensor(),
            node.wants(1) ? raw::sum_to(d.second, shape_b) : Tensor()};
  }
};

// gelu(x + b) with one b for each column: what follows a product, whose bias it adds. Keeps x and
// b.
struct BiasGeluOp {
  static constexpr const char* kName = "bias_gelu";
  static constexpr CastPolicy kCast = kCastInside;
  Saved x, b;

  Tensor forward(Wants wants, const Tensor& in_any, const Tensor& bias) {
    TESSERA_CHECK(in_any.defined() && bias.defined() && is_floating(in_any.dtype()) &&
                      in_any.ndim() >= 1 && bias.ndim() == 1 &&
                      bias.size(0) == in_any.shape().back() &&
                      (bias.dtype() == in_any.dtype() ||
                       (bias.dtype() == DType::kF32 && in_any.dtype() != DType::kF64)),
                  "[bias_gelu] bias {} does not fit x {}", describe(bias), describe(in_any));
    const Tensor in = raw::contiguous(in_any);
    if (wants.any()) {
      x = Saved(in);
      b = Saved(bias);
    }
    return activated(in, bias);
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy_any) {
    const Tensor in = x.get(kName), bias = b.get(kName);
    // Where nobody else looks at dy, dx takes its place.
    const bool in_place = dy_any.is_unshared() && dy_any.is_contiguous();
    const Tensor dy = raw::contiguous(dy_any);
    const Tensor dx = in_place ? dy : Tensor::empty(in.shape(), in.dtype(), in.device());
    Tensor db;
    if (node.wants(1)) db = Tensor::zeros(bias.shape(), bias.dtype(), bias.device());
    if (in.numel() > 0) {
      in.backend().bias_gelu_backward(rows_of(in), bias.view(), rows_of(dy), rows_of(dx),
                                      db.defined() ? db.view() : View{});
    }
    return {dx, db};
  }
  bool can_recompute(int) const { return true; }
  Tensor recompute() { return activated(x.get(kName), b.get(kName)); }

 private:
  static View rows_of(const Tensor& t) { return raw::reshape(t, {-1, t.shape().back()}).view(); }
  static Tensor activated(const Tensor& in, const Tensor& bias) {
    Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device());
    if (in.numel() > 0) in.backend().bias_gelu(rows_of(in), bias.view(), rows_of(y));
    return y;
  }
};

struct WhereOp {
  static constexpr const char* kName = "where";
  static constexpr CastPolicy kCast = kCastWidest;
  Saved condition;
  Shape shape_a, shape_b;

  Tensor forward(Wants wants, const Tensor& c, const Tensor& a, const Tensor& b) {
    Tensor y = raw::where(c, a, b);
    shape_a = a.shape();
    shape_b = b.shape();
    if (wants.any()) condition = Saved(c);
    return y;
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    const Tensor zero = Tensor::zeros({}, dy.dtype(), dy.device());
    const Tensor c = condition.get(kName);
    return {Tensor(), node.wants(1) ? raw::sum_to(raw::where(c, dy, zero), shape_a) : Tensor(),
            node.wants(2) ? raw::sum_to(raw::where(c, zero, dy), shape_b) : Tensor()};
  }
};

struct ToOp {
  static constexpr const char* kName = "to";
  static constexpr CastPolicy kCast = kCastWidest;
  DType dtype = DType::kF32, before = DType::kF32;

  Tensor forward(Wants, const Tensor& x) {
    before = x.dtype();
    return raw::to(x, dtype);
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) { return {raw::to(dy, before)}; }
};

// No gradient, so no node; under autocast the inputs meet as those of a binary op do.
Tensor compare(CompareOp op, const Tensor& a, const Tensor& b) {
  if (!autocast_enabled()) return raw::compare(op, a, b);
  const std::vector<Tensor> values = autocast(kCastWidest, {a, b});
  return raw::compare(op, values[0], values[1]);
}

#define TESSERA_FUNCTION_NAME(Name, name, ...) constexpr char kNameOf##Name[] = #name;
TESSERA_UNARY_OPS(TESSERA_FUNCTION_NAME)
TESSERA_UNARY_OPS_1(TESSERA_FUNCTION_NAME)
TESSERA_UNARY_OPS_2(TESSERA_FUNCTION_NAME)
TESSERA_BINARY_OPS(TESSERA_FUNCTION_NAME)

}  // namespace

#define TESSERA_DEFINE_UNARY(Name, name, saves)                          \
  Tensor name(const Tensor& x) {                                         \
    return apply(UnaryNode<UnaryOp::k##Name, kNameOf##Name>{{}, {}}, x); \
  }
#define TESSERA_DEFINE_UNARY_1(Name, name, saves)                            \
  Tensor name(const Tensor& x, double a) {                                   \
    return apply(UnaryNode<UnaryOp::k##Name, kNameOf##Name>{{a, 0}, {}}, x); \
  }
#define TESSERA_DEFINE_UNARY_2(Name, name, saves)                            \
  Tensor name(const Tensor& x, double a, double b) {                         \
    return apply(UnaryNode<UnaryOp::k##Name, kNameOf##Name>{{a, b}, {}}, x); \
  }
#define TESSERA_DEFINE_BINARY(Name, name, saves)                                      \
  Tensor name(const Tensor& a, const Tensor& b) {                                     \
    return apply(BinaryNode<BinaryOp::k##Name, Saves::saves, kNameOf##Name>{}, a, b); \
  }
#define TESSERA_DEFINE_COMPARE(Name, name) \
  Tensor name(const Tensor& a, const Tensor& b) { return compare(CompareOp::k##Name, a, b); }

TESSERA_UNARY_OPS(TESSERA_DEFINE_UNARY)
TESSERA_UNARY_OPS_1(TESSERA_DEFINE_UNARY_1)
TESSERA_UNARY_OPS_2(TESSERA_DEFINE_UNARY_2)
TESSERA_BINARY_OPS(TESSERA_DEFINE_BINARY)
TESSERA_COMPARE_OPS(TESSERA_DEFINE_COMPARE)

Tensor bias_gelu(const Tensor& x, const Tensor& b) { return apply(BiasGeluOp{}, x, b); }

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return apply(WhereOp{}, condition, a, b);
}

Tensor to(const Tensor& x, DType dtype) {
  TESSERA_CHECK(x.defined(), "[to] a tensor is missing");
  if (x.dtype() == dtype) return x;
  if (!is_floating(dtype)) return raw::to(x, dtype);  // no gradient through whole numbers
  return apply(ToOp{dtype, DType::kF32}, x);
}

}  // namespace tessera
