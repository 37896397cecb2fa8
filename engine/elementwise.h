// The elementwise ops, each declared once: a functor with its derivative, and a line in a table.
// From that line come the enum, every backend's kernels, the differentiable function and, with a
// reference beside it (tests/ops/rows_elementwise.cc), the row every op needs in the test table.
// Functors are generic over the lane V: a small array of numbers on the CPU, one number in a CUDA
// kernel; they use +,-,*,/, comparisons, select(mask, a, b) and the lane's own exp, log, erf, ...
// and nothing else.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define TESSERA_LANE __host__ __device__ static inline
#else
#define TESSERA_LANE static inline
#endif

namespace tessera {

// What the backward pass of a unary op reads.
enum class Saves : uint8_t { kNothing, kInput, kOutput };

// Up to two numbers that belong to the op, not to the elements: clamp's bounds, pow's exponent.
struct ScalarArgs {
  double a = 0, b = 0;
};

// name of the functor, name of the function, what backward saves.
#define TESSERA_UNARY_OPS(X)     \
  X(Exp, exp, kOutput)           \
  X(Log, log, kInput)            \
  X(Sqrt, sqrt, kOutput)         \
  X(Rsqrt, rsqrt, kOutput)       \
  X(Tanh, tanh, kOutput)         \
  X(Sigmoid, sigmoid, kOutput)   \
  X(Erf, erf, kInput)            \
  X(Relu, relu, kOutput)         \
  X(Gelu, gelu, kInput)          \
  X(GeluTanh, gelu_tanh, kInput) \
  X(Silu, silu, kInput)          \
  X(Abs, abs, kInput)            \
  X(Neg, neg, kNothing)          \
  X(Square, square, kInput)      \
  X(Sin, sin, kInput)            \
  X(Cos, cos, kInput)

// The same with one number: pow(x, exponent), x + a, x * a.
#define TESSERA_UNARY_OPS_1(X)       \
  X(Pow, pow, kInput)                \
  X(AddScalar, add_scalar, kNothing) \
  X(MulScalar, mul_scalar, kNothing)

// The same with two: clamp(x, low, high).
#define TESSERA_UNARY_OPS_2(X) X(Clamp, clamp, kInput)

// name of the functor, name of the function, whether backward reads the inputs.
#define TESSERA_BINARY_OPS(X) \
  X(Add, add, kNothing)       \
  X(Sub, sub, kNothing)       \
  X(Mul, mul, kInput)         \
  X(Div, div, kInput)         \
  X(Maximum, maximum, kInput) \
  X(Minimum, minimum, kInput)

// Comparisons: bool results, no gradient.
#define TESSERA_COMPARE_OPS(X) \
  X(Equal, equal)              \
  X(NotEqual, not_equal)       \
  X(Less, less)                \
  X(LessEqual, less_equal)     \
  X(Greater, greater)          \
  X(GreaterEqual, greater_equal)

#define TESSERA_ENUM_ENTRY(Name, ...) k##Name,
enum class UnaryOp : uint8_t {
  TESSERA_UNARY_OPS(TESSERA_ENUM_ENTRY) TESSERA_UNARY_OPS_1(TESSERA_ENUM_ENTRY)
      TESSERA_UNARY_OPS_2(TESSERA_ENUM_ENTRY)
};
enum class BinaryOp : uint8_t { TESSERA_BINARY_OPS(TESSERA_ENUM_ENTRY) };
enum class CompareOp : uint8_t { TESSERA_COMPARE_OPS(TESSERA_ENUM_ENTRY) };
#undef TESSERA_ENUM_ENTRY

const char* name_of(UnaryOp op);  // the function's name
const char* name_of(BinaryOp op);
const char* name_of(CompareOp op);
Saves saves_of(UnaryOp op);

// Each unary functor: f(x, args), and df(saved, dy, args) = dL/dx from dy = dL/dy, where saved is
// what the table says. Each binary functor: f(a, b), da(a, b, dy), db(a, b, dy).
namespace functors {

inline constexpr double kSqrtHalf = 0.70710678118654752440;
inline constexpr double kInvSqrt2Pi = 0.39894228040143267794;  // 1/sqrt(2 pi)
inline constexpr double kTwoOverSqrtPi = 1.12837916709551257390;
inline constexpr double kSqrt2OverPi = 0.79788456080286535588;

struct Exp {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return exp(x);
  }
  template <class V>
  TESSERA_LANE V df(V y, V dy, ScalarArgs) {
    return dy * y;
  }
};
struct Log {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return log(x);
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    return dy / x;
  }
};
struct Sqrt {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return sqrt(x);
  }
  template <class V>
  TESSERA_LANE V df(V y, V dy, ScalarArgs) {
    return dy * V(0.5) / y;
  }
};
struct Rsqrt {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return V(1) / sqrt(x);
  }
  template <class V>
  TESSERA_LANE V df(V y, V dy, ScalarArgs) {
    return dy * V(-0.5) * y * y * y;
  }
};
struct Tanh {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return tanh(x);
  }
  template <class V>
  TESSERA_LANE V df(V y, V dy, ScalarArgs) {
    return dy * (V(1) - y * y);
  }
};
struct Sigmoid {
  // exp of a non-positive number only, so that neither end overflows.
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    const V e = exp(-abs(x));
    const V small = e / (V(1) + e);
    return select(x < V(0), small, V(1) - small);
  }
  template <class V>
  TESSERA_LANE V df(V y, V dy, ScalarArgs) {
    return dy * y * (V(1) - y);
  }
};
struct Erf {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return erf(x);
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    return dy * V(kTwoOverSqrtPi) * exp(-(x * x));
  }
};
struct Relu {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return select(x < V(0), V(0), x);
  }
  template <class V>
  TESSERA_LANE V df(V y, V dy, ScalarArgs) {
    return select(y > V(0), dy, V(0));
  }
};
// The exact GELU, x * Phi(x) (Hendrycks and Gimpel, 2016), as MAE and BEiT use it.
struct Gelu {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return V(0.5) * x * (V(1) + erf(x * V(kSqrtHalf)));
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    const V cdf = V(0.5) * (V(1) + erf(x * V(kSqrtHalf)));
    return dy * (cdf + x * V(kInvSqrt2Pi) * exp(V(-0.5) * x * x));
  }
};
// The tanh approximation of the same.
struct GeluTanh {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return V(0.5) * x * (V(1) + tanh(V(kSqrt2OverPi) * (x + V(0.044715) * x * x * x)));
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    const V t = tanh(V(kSqrt2OverPi) * (x + V(0.044715) * x * x * x));
    const V inner = V(kSqrt2OverPi) * (V(1) + V(3 * 0.044715) * x * x);
    return dy * V(0.5) * (V(1) + t + x * (V(1) - t * t) * inner);
  }
};
struct Silu {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs args) {
    return x * Sigmoid::f(x, args);
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs args) {
    const V s = Sigmoid::f(x, args);
    return dy * s * (V(1) + x * (V(1) - s));
  }
};
struct Abs {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return abs(x);
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    return select(x > V(0), dy, select(x < V(0), -dy, V(0)));
  }
};
struct Neg {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return -x;
  }
  template <class V>
  TESSERA_LANE V df(V, V dy, ScalarArgs) {
    return -dy;
  }
};
struct Square {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return x * x;
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    return dy * V(2) * x;
  }
};
struct Sin {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return sin(x);
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    return dy * cos(x);
  }
};
struct Cos {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs) {
    return cos(x);
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs) {
    return -dy * sin(x);
  }
};
struct Pow {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs s) {
    return pow(x, V(s.a));
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs s) {
    return dy * V(s.a) * pow(x, V(s.a - 1));
  }
};
struct AddScalar {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs s) {
    return x + V(s.a);
  }
  template <class V>
  TESSERA_LANE V df(V, V dy, ScalarArgs) {
    return dy;
  }
};
struct MulScalar {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs s) {
    return x * V(s.a);
  }
  template <class V>
  TESSERA_LANE V df(V, V dy, ScalarArgs s) {
    return dy * V(s.a);
  }
};
// NaN passes through; the gradient is 1 on the bounds, as PyTorch has it.
struct Clamp {
  template <class V>
  TESSERA_LANE V f(V x, ScalarArgs s) {
    return select(x < V(s.a), V(s.a), select(x > V(s.b), V(s.b), x));
  }
  template <class V>
  TESSERA_LANE V df(V x, V dy, ScalarArgs s) {
    return select(x < V(s.a), V(0), select(x > V(s.b), V(0), dy));
  }
};

struct Add {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return a + b;
  }
  template <class V>
  TESSERA_LANE V da(V, V, V dy) {
    return dy;
  }
  template <class V>
  TESSERA_LANE V db(V, V, V dy) {
    return dy;
  }
};
struct Sub {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return a - b;
  }
  template <class V>
  TESSERA_LANE V da(V, V, V dy) {
    return dy;
  }
  template <class V>
  TESSERA_LANE V db(V, V, V dy) {
    return -dy;
  }
};
struct Mul {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return a * b;
  }
  template <class V>
  TESSERA_LANE V da(V, V b, V dy) {
    return dy * b;
  }
  template <class V>
  TESSERA_LANE V db(V a, V, V dy) {
    return dy * a;
  }
};
struct Div {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return a / b;
  }
  template <class V>
  TESSERA_LANE V da(V, V b, V dy) {
    return dy / b;
  }
  template <class V>
  TESSERA_LANE V db(V a, V b, V dy) {
    return -dy * a / (b * b);
  }
};
// A NaN on either side wins; equal inputs share the gradient, as PyTorch has it.
struct Maximum {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a != a, a, select(a > b, a, b));
  }
  template <class V>
  TESSERA_LANE V da(V a, V b, V dy) {
    return select(a > b, dy, select(a < b, V(0), V(0.5) * dy));
  }
  template <class V>
  TESSERA_LANE V db(V a, V b, V dy) {
    return da(b, a, dy);
  }
};
struct Minimum {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a != a, a, select(a < b, a, b));
  }
  template <class V>
  TESSERA_LANE V da(V a, V b, V dy) {
    return select(a < b, dy, select(a > b, V(0), V(0.5) * dy));
  }
  template <class V>
  TESSERA_LANE V db(V a, V b, V dy) {
    return da(b, a, dy);
  }
};

struct Equal {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a == b, V(1), V(0));
  }
};
struct NotEqual {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a == b, V(0), V(1));
  }
};
struct Less {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a < b, V(1), V(0));
  }
};
struct LessEqual {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a <= b, V(1), V(0));
  }
};
struct Greater {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a > b, V(1), V(0));
  }
};
struct GreaterEqual {
  template <class V>
  TESSERA_LANE V f(V a, V b) {
    return select(a >= b, V(1), V(0));
  }
};

}  // namespace functors
}  // namespace tessera
