// Rows of the products: matmul, linear, attention.
#include <cmath>

#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

// NumPy's matmul on arrays of at least two dimensions, then without the dimensions that 1-d
// operands were given.
Array product(Array a, Array b) {
  const bool vector_a = a.ndim() == 1, vector_b = b.ndim() == 1;
  if (vector_a) a.shape.insert(0, 1);
  if (vector_b) b.shape.insert(1, 1);
  const int64_t m = a.extent(-2), k = a.extent(-1), n = b.extent(-1);
  Shape batch_a = a.shape, batch_b = b.shape;
  for (Shape* s : {&batch_a, &batch_b}) {
    s->erase(s->size() - 1);
    s->erase(s->size() - 1);
  }
  Shape shape = broadcast_shape(batch_a, batch_b);
  const int batch = shape.size();
  shape.push_back(m);
  shape.push_back(n);
  const auto element = [batch](const Array& x, const Dims& i, int64_t row, int64_t column) {
    Dims at;
    const int own = x.ndim() - 2;
    for (int d = 0; d < own; ++d) at.push_back(x.shape[d] == 1 ? 0 : i[d + batch - own]);
    at.push_back(row);
    at.push_back(column);
    return x(at);
  };
  Array out = build(shape, [&](const Dims& i) {
    double total = 0;
    for (int64_t j = 0; j < k; ++j) {
      total += element(a, i, i[batch], j) * element(b, i, j, i[batch + 1]);
    }
    return total;
  });
  if (vector_b) out.shape.erase(batch + 1);
  if (vector_a) out.shape.erase(batch);
  return out;
}

Row matmul_row() {
  Row row{"matmul", {}, {}};
  const std::pair<Shape, Shape> shapes[] = {
      {{3, 4}, {4, 5}}, {{2, 3, 4}, {4, 5}},    {{2, 3, 4}, {2, 4, 5}}, {{2, 1, 3, 4}, {3, 4, 2}},
      {{4}, {4}},       {{3, 4}, {4}},          {{4}, {4, 5}},          {{2, 3, 4}, {4}},
      {{4}, {2, 4, 3}}, {{0, 4}, {4, 5}},       {{3, 0}, {0, 5}},       {{0, 3, 4}, {4, 5}},
      {{1, 1}, {1, 1}}, {{2, 0, 3}, {2, 3, 2}}, {{2, 2, 3}, {1, 3, 2}},
  };
  for (const auto& [a, b] : shapes) {
    row.cases.push_back({.label = fmt::format("{} x {}", a, b),
                         .inputs = {normal(a), normal(b)},
                         .call = [](const Tensors& in) { return matmul(in[0], in[1]); },
                         .reference = [](const Arrays& in) { return product(in[0], in[1]); }});
  }
  row.refusals = {
      {"inner sizes",
       [] {
         matmul(f32({2, 3}), f32({4, 5}));
       },
       {"(2, 3)", "(4, 5)"}},
      {"batches",
       [] {
         matmul(f32({2, 2, 3}), f32({3, 3, 5}));
       },
       {"(2, 2, 3)", "(3, 3, 5)"}},
      {"two dtypes",
       [] {
         matmul(f32({2, 3}), f64({3, 5}));
       },
       {"f32", "f64"}},
      {"integers",
       [] {
         matmul(i64({2, 3}), i64({3, 5}));
       },
       {"i64"}},
      {"a 0-d operand",
       [] {
         matmul(f32({}), f32({3, 5}));
       },
       {"()", "(3, 5)"}},
  };
  return row;
}

Row linear_row() {
  Row row{"linear", {}, {}};
  for (const bool bias : {true, false}) {
    for (const auto& [x, w] : {std::pair{Shape{2, 3, 4}, Shape{5, 4}},
                               {Shape{7, 4}, Shape{5, 4}},
                               {Shape{4}, Shape{2, 4}},
                               {Shape{0, 4}, Shape{5, 4}},
                               {Shape{2, 0, 4}, Shape{3, 4}},
                               {Shape{1, 1}, Shape{1, 1}}}) {
      Case c{
          .label = fmt::format("{} by {}{}", x, w, bias ? " and bias" : ""),
          .inputs = {normal(x), normal(w)},
          .call = [=](const Tensors& in) { return linear(in[0], in[1], bias ? in[2] : Tensor()); },
          .reference =
              [=](const Arrays& in) {
                const Array& x = in[0];
                const int last = x.ndim() - 1;
                return build(with(x.shape, last, in[1].shape[0]), [&](const Dims& i) {
                  double total = bias ? in[2]({i[last]}) : 0;
                  for (int64_t k = 0; k < x.shape[last]; ++k) {
                    total += x(with(i, last, k)) * in[1]({i[last], k});
                  }
                  return total;
                });
              },
          .roundings = 2};
      if (bias) c.inputs.push_back(normal({w[0]}));
      row.cases.push_back(c);
    }
  }
  row.refusals = {
      {"inner sizes",
       [] {
         linear(f32({2, 3}), f32({5, 4}));
       },
       {"(2, 3)", "(5, 4)"}},
      {"the bias",
       [] {
         linear(f32({2, 4}), f32({5, 4}), f32({4}));
       },
       {"(5, 4)", "(4,)"}},
      {"two dtypes",
       [] {
         linear(f32({2, 4}), f64({5, 4}));
       },
       {"f32", "f64"}},
      {"a weight of three dimensions",
       [] {
         linear(f32({2, 4}), f32({1, 5, 4}));
       },
       {"(1, 5, 4)"}},
      {"a 0-d input",
       [] {
         linear(f32({}), f32({5, 1}));
       },
       {"()"}},
  };
  return row;
}

Array attended(const Array& q, const Array& k, const Array& v, const Array* bias, double scale) {
  return build(with(q.shape, 3, v.shape[3]), [&](const Dims& i) {
    const int64_t keys = k.shape[2];
    std::vector<double> scores;
    double largest = -INFINITY, total = 0, out = 0;
    for (int64_t m = 0; m < keys; ++m) {
      double s = 0;
      for (int64_t c = 0; c < q.shape[3]; ++c) {
        s += q({i[0], i[1], i[2], c}) * k({i[0], i[1], m, c});
      }
      s = s * scale + (bias != nullptr ? broadcast_at(*bias, {0, i[1], i[2], m}) : 0);
      scores.push_back(s);
      largest = std::fmax(largest, s);
    }
    for (double& s : scores) total += s = std::exp(s - largest);
    for (int64_t m = 0; m < keys; ++m) {
      out += scores[static_cast<size_t>(m)] / total * v({i[0], i[1], m, i[3]});
    }
    return out;
  });
}

Row attention_row() {
  Row row{"attention", {}, {}};
  struct Args {
    Shape q;
    int64_t keys;
    std::optional<Shape> bias;
  };
  const Args cases[] = {
      {{2, 3, 2, 3}, 4, {}},          {{2, 2, 3, 4}, 3, Shape{1, 2, 3, 3}},
      {{1, 2, 3, 2}, 2, Shape{3, 2}}, {{1, 2, 2, 2}, 3, Shape{2, 1, 3}},
      {{0, 2, 3, 4}, 3, {}},          {{1, 1, 1, 1}, 1, {}},
      {{1, 1, 19, 3}, 17, {}},
  };
  for (const Args& a : cases) {
    const Shape keys = with(a.q, 2, a.keys);
    const double scale = 1 / std::sqrt(static_cast<double>(a.q[3]));
    Case c{.label = fmt::format("{} keys {}{}", a.q, a.keys,
                                a.bias ? " bias " + to_string(*a.bias) : std::string()),
           .inputs = {normal(a.q), normal(keys), normal(keys)},
           .call =
               [=](const Tensors& in) {
                 return attention(in[0], in[1], in[2], a.bias ? in[3] : Tensor(), scale);
               },
           .reference =
               [=](const Arrays& in) {
                 return attended(in[0], in[1], in[2], a.bias ? &in[3] : nullptr, scale);
               },
           .roundings = 2};
    if (a.bias) c.inputs.push_back(normal(*a.bias));
    row.cases.push_back(c);
  }
  const auto call = [](const Shape& q, const Shape& k, const Shape& v) {
    return [=] { attention(f32(q), f32(k), f32(v), Tensor(), 1); };
  };
  row.refusals = {
      {"keys of another width",
       call({1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 3, 4}),
       {"(1, 2, 3, 4)", "(1, 2, 3, 5)"}},
      {"values of another count", call({1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 2, 4}), {"(1, 2, 2, 4)"}},
      {"other heads",
       call({1, 2, 3, 4}, {1, 3, 3, 4}, {1, 3, 3, 4}),
       {"(1, 2, 3, 4)", "(1, 3, 3, 4)"}},
      {"three dimensions", call({2, 3, 4}, {2, 3, 4}, {2, 3, 4}), {"(2, 3, 4)"}},
      {"a bias of another count of keys",
       [] {
         attention(f32({1, 2, 3, 4}), f32({1, 2, 3, 4}), f32({1, 2, 3, 4}), f32({2, 3, 5}), 1);
       },
       {"(2, 3, 5)", "(1, 2, 3, 3)"}},
      {"a bias for each sample",
       [] {
         attention(f32({2, 1, 3, 4}), f32({2, 1, 3, 4}), f32({2, 1, 3, 4}), f32({2, 1, 3, 3}), 1);
       },
       {"(2, 1, 3, 3)"}},
      {"two dtypes",
       [] {
         attention(f32({1, 1, 3, 4}), f64({1, 1, 3, 4}), f32({1, 1, 3, 4}), Tensor(), 1);
       },
       {"f32", "f64"}},
      {"no keys", call({1, 1, 3, 4}, {1, 1, 0, 4}, {1, 1, 0, 4}), {"(1, 1, 0, 4)"}},
  };
  return row;
}

}  // namespace

std::vector<Row> product_rows() { return {matmul_row(), linear_row(), attention_row()}; }

}  // namespace tessera::ops_test
