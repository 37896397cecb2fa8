// Rows of the elementwise ops: one for each line of the table in engine/elementwise.h, by name, and
// the few that take numbers or a condition.
// Rule: a reference uses <cmath> in f64 and nothing of the functors it checks.
#include <cmath>
#include <map>

#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

struct Unary {
  double (*f)(double);
  double low = -2.5, high = 2.5;  // inputs
};

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

const std::map<std::string, Unary> kUnary = {
    {"exp", {[](double x) { return std::exp(x); }}},
    {"log", {[](double x) { return std::log(x); }, 0.3, 3}},
    {"sqrt", {[](double x) { return std::sqrt(x); }, 0.3, 3}},
    {"rsqrt", {[](double x) { return 1 / std::sqrt(x); }, 0.3, 3}},
    {"tanh", {[](double x) { return std::tanh(x); }}},
    {"sigmoid", {sigmoid_of}},
    {"erf", {[](double x) { return std::erf(x); }}},
    {"relu", {[](double x) { return x > 0 ? x : 0; }}},
    {"gelu", {[](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }}},
    {"gelu_tanh", {[](double x) {
       return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * std::pow(x, 3))));
     }}},
    {"silu", {[](double x) { return x * sigmoid_of(x); }}},
    {"abs", {[](double x) { return std::fabs(x); }}},
    {"neg", {[](double x) { return -x; }}},
    {"square", {[](double x) { return x * x; }}},
    {"sin", {[](double x) { return std::sin(x); }}},
    {"cos", {[](double x) { return std::cos(x); }}},
};

struct Binary {
  double (*f)(double, double);
  bool divides = false;
};

const std::map<std::string, Binary> kBinary = {
    {"add", {[](double a, double b) { return a + b; }}},
    {"sub", {[](double a, double b) { return a - b; }}},
    {"mul", {[](double a, double b) { return a * b; }}},
    {"div", {[](double a, double b) { return a / b; }, true}},
    {"maximum", {[](double a, double b) { return std::fmax(a, b); }}},
    {"minimum", {[](double a, double b) { return std::fmin(a, b); }}},
};

const std::map<std::string, bool (*)(double, double)> kCompare = {
    {"equal", [](double a, double b) { return a == b; }},
    {"not_equal", [](double a, double b) { return a != b; }},
    {"less", [](double a, double b) { return a < b; }},
    {"less_equal", [](double a, double b) { return a <= b; }},
    {"greater", [](double a, double b) { return a > b; }},
    {"greater_equal", [](double a, double b) { return a >= b; }},
};

using UnaryFunction = std::function<Tensor(const Tensor&)>;
using BinaryFunction = std::function<Tensor(const Tensor&, const Tensor&)>;

// 37 = four full lanes of eight floats and a tail of five.
const Shape kUnaryShapes[] = {{3, 5}, {}, {2, 0, 3}, {37}, {2, 3, 4}};

Row unary_row(const std::string& op, const UnaryFunction& function,
              const std::function<double(double)>& f, double low, double high) {
  Row row{op, {}, {}};
  for (const Shape& shape : kUnaryShapes) {
    row.cases.push_back({.label = to_string(shape),
                         .inputs = {uniform(shape, low, high)},
                         .call = [=](const Tensors& in) { return function(in[0]); },
                         .reference = [=](const Arrays& in) { return map(in[0], f); }});
  }
  row.refusals.push_back({"an integer input", [=] { function(i64({2, 3})); }, {"i64", "(2, 3)"}});
  row.refusals.push_back({"no input", [=] { function(Tensor()); }, {"missing"}});
  return row;
}

std::vector<Refusal> binary_refusals(const BinaryFunction& function) {
  return {
      {"shapes that do not broadcast",
       [=] {
         function(f32({2, 3}), f32({2, 4}));
       },
       {"(2, 3)", "(2, 4)"}},
      {"two dtypes",
       [=] {
         function(f32({2, 3}), f64({2, 3}));
       },
       {"f32", "f64", "(2, 3)"}},
      {"no input",
       [=] {
         function(f32({2, 3}), Tensor());
       },
       {"missing"}},
  };
}

const std::pair<Shape, Shape> kBinaryShapes[] = {
    {{3, 4}, {3, 4}}, {{2, 3, 4}, {4}},          {{2, 1, 4}, {1, 3, 1}}, {{5}, {}},
    {{}, {}},         {{2, 3, 1, 4}, {3, 5, 1}}, {{0, 3}, {3}},          {{}, {2, 7}},
};

Row binary_row(const std::string& op, const BinaryFunction& function, const Binary& binary) {
  Row row{op, {}, binary_refusals(function)};
  const auto f = binary.f;
  for (const auto& [a, b] : kBinaryShapes) {
    row.cases.push_back({.label = to_string(a) + " " + to_string(b),
                         .inputs = {normal(a), binary.divides ? uniform(b, 0.5, 2.5) : normal(b)},
                         .call = [=](const Tensors& in) { return function(in[0], in[1]); },
                         .reference = [=](const Arrays& in) { return map(in[0], in[1], f); }});
  }
  return row;
}

Row compare_row(const std::string& op, const BinaryFunction& function, bool (*f)(double, double)) {
  Row row{op, {}, binary_refusals(function)};
  for (const auto& [a, b] : kBinaryShapes) {
    row.cases.push_back({.label = to_string(a) + " " + to_string(b),
                         .inputs = {levels(a, -2, 2), levels(b, -2, 2)},
                         .call = [=](const Tensors& in) { return function(in[0], in[1]); },
                         .reference =
                             [=](const Arrays& in) {
                               return map(in[0], in[1],
                                          [&](double x, double y) { return f(x, y) ? 1.0 : 0.0; });
                             },
                         .result = DType::kBool});
  }
  return row;
}

// A name in the op table without a reference here gets no row, and the coverage test says so.
void add_table_rows(std::vector<Row>* rows) {
#define UNARY_ROW(Name, name, saves)                                                           \
  if (const auto it = kUnary.find(#name); it != kUnary.end()) {                                \
    rows->push_back(unary_row(                                                                 \
        #name, [](const Tensor& x) { return tessera::name(x); }, it->second.f, it->second.low, \
        it->second.high));                                                                     \
  }
#define BINARY_ROW(Name, name, saves)                                                              \
  if (const auto it = kBinary.find(#name); it != kBinary.end()) {                                  \
    rows->push_back(binary_row(                                                                    \
        #name, [](const Tensor& a, const Tensor& b) { return tessera::name(a, b); }, it->second)); \
  }
#define COMPARE_ROW(Name, name)                                                                    \
  if (const auto it = kCompare.find(#name); it != kCompare.end()) {                                \
    rows->push_back(compare_row(                                                                   \
        #name, [](const Tensor& a, const Tensor& b) { return tessera::name(a, b); }, it->second)); \
  }
  TESSERA_UNARY_OPS(UNARY_ROW)
  TESSERA_BINARY_OPS(BINARY_ROW)
  TESSERA_COMPARE_OPS(COMPARE_ROW)
#undef UNARY_ROW
#undef BINARY_ROW
#undef COMPARE_ROW
}

Row where_row() {
  Row row{"where", {}, {}};
  const std::vector<Shape> shapes[] = {
      {{2, 3}, {2, 3}, {1, 3}}, {{3, 1}, {3, 5}, {}}, {{}, {}, {}}, {{0, 2}, {0, 2}, {2}}};
  for (const auto& s : shapes) {
    row.cases.push_back({.label = to_string(s[0]) + " " + to_string(s[1]) + " " + to_string(s[2]),
                         .inputs = {booleans(s[0]), normal(s[1]), normal(s[2])},
                         .call = [](const Tensors& in) { return where(in[0], in[1], in[2]); },
                         .reference =
                             [](const Arrays& in) {
                               const Shape shape = broadcast_shape(
                                   in[0].shape, broadcast_shape(in[1].shape, in[2].shape));
                               return build(shape, [&](const Dims& i) {
                                 return broadcast_at(in[0], i) != 0 ? broadcast_at(in[1], i)
                                                                    : broadcast_at(in[2], i);
                               });
                             }});
  }
  row.refusals = {
      {"a condition that is no bool",
       [] {
         where(f32({2, 3}), f32({2, 3}), f32({2, 3}));
       },
       {"f32", "(2, 3)", "bool"}},
      {"two dtypes", [] { where(boolean({2}), f32({2}), f64({2})); }, {"f32", "f64"}},
      {"shapes that do not broadcast",
       [] {
         where(boolean({2, 3}), f32({2, 3}), f32({2, 2}));
       },
       {"(2, 3)", "(2, 2)"}},
  };
  return row;
}

Row to_row() {
  Row row{"to", {}, {}};
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    for (const Shape& shape : {Shape{3, 5}, Shape{}, Shape{0, 2}}) {
      row.cases.push_back({.label = to_string(shape) + " as " + tessera::name_of(dtype),
                           // Levels are exact in every dtype, so that a difference step is, too.
                           .inputs = {levels(shape, -9, 9)},
                           .call = [=](const Tensors& in) { return to(in[0], dtype); },
                           .reference = [](const Arrays& in) { return in[0]; },
                           .result = dtype});
    }
  }
  row.cases.push_back({.label = "gradient through f64",
                       .inputs = {normal({3, 5})},
                       .call = [](const Tensors& in) { return to(in[0], DType::kF64); },
                       .reference = [](const Arrays& in) { return in[0]; },
                       .result = DType::kF64});
  row.cases.push_back(
      {.label = "to integers towards zero",
       .inputs = {constant(normal({3, 5}, 0, 9))},
       .call = [](const Tensors& in) { return to(in[0], DType::kI64); },
       .reference =
           [](const Arrays& in) { return map(in[0], [](double x) { return std::trunc(x); }); },
       .result = DType::kI64});
  row.refusals = {{"no input", [] { to(Tensor(), DType::kF32); }, {"missing"}}};
  return row;
}

Row bias_gelu_row() {
  Row row{"bias_gelu", {}, {}};
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{5}, Shape{0, 4}, Shape{70, 1}, Shape{3, 9}}) {
    row.cases.push_back({.label = to_string(shape),
                         .inputs = {normal(shape), normal({shape.back()})},
                         .call = [](const Tensors& in) { return bias_gelu(in[0], in[1]); },
                         .reference =
                             [=](const Arrays& in) {
                               return build(shape, [&](const Dims& i) {
                                 const double x = in[0](i) + in[1]({i[shape.size() - 1]});
                                 return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
                               });
                             }});
  }
  row.refusals = {{"a bias of another width",
                   [] {
                     bias_gelu(f32({2, 3}), f32({2}));
                   },
                   {"(2, 3)", "(2,)"}},
                  {"a bias for each row",
                   [] {
                     bias_gelu(f32({2, 3}), f32({2, 3}));
                   },
                   {"(2, 3)"}},
                  {"two dtypes",
                   [] {
                     bias_gelu(f32({2, 3}), f64({3}));
                   },
                   {"f32", "f64"}},
                  {"no bias",
                   [] {
                     bias_gelu(f32({2, 3}), {});
                   },
                   {"(2, 3)"}},
                  {"integers",
                   [] {
                     bias_gelu(i64({2, 3}), i64({3}));
                   },
                   {"i64"}}};
  return row;
}

}  // namespace

std::vector<Row> elementwise_rows() {
  std::vector<Row> rows;
  add_table_rows(&rows);
  const auto with_number = [&](const std::string& op, Tensor (*function)(const Tensor&, double),
                               double (*f)(double, double), double value, double low) {
    rows.push_back(unary_row(
        op, [=](const Tensor& x) { return function(x, value); },
        [=](double x) { return f(x, value); }, low, 2.5));
  };
  with_number(
      "pow", pow, [](double x, double v) { return std::pow(x, v); }, 1.7, 0.3);
  with_number(
      "add_scalar", add_scalar, [](double x, double v) { return x + v; }, 0.75, -2.5);
  with_number(
      "mul_scalar", mul_scalar, [](double x, double v) { return x * v; }, -1.25, -2.5);
  rows.push_back(unary_row(
      "clamp", [](const Tensor& x) { return clamp(x, -0.5, 0.75); },
      [](double x) { return x < -0.5 ? -0.5 : (x > 0.75 ? 0.75 : x); }, -2.5, 2.5));
  rows.push_back(bias_gelu_row());
  rows.push_back(where_row());
  rows.push_back(to_row());
  return rows;
}

}  // namespace tessera::ops_test
