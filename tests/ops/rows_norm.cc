// Rows of the normalisations: layer, batch and group norm, softmax and its logarithm.
#include <cmath>

#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

// x normalised over the elements that share key(index), then scaled and shifted by
// w and b at place(index).
template <class Key, class Place>
Array normalised(const Array& x, const Array* w, const Array* b, double eps, int64_t groups,
                 Key key, Place place) {
  std::vector<double> count(static_cast<size_t>(groups)), mean(count), var(count);
  const auto group = [&](const Dims& i) { return static_cast<size_t>(key(i)); };
  each_index(x.shape, [&](const Dims& i) {
    count[group(i)] += 1;
    mean[group(i)] += x(i);
  });
  for (size_t g = 0; g < count.size(); ++g) mean[g] /= count[g];
  each_index(x.shape, [&](const Dims& i) {
    var[group(i)] += (x(i) - mean[group(i)]) * (x(i) - mean[group(i)]) / count[group(i)];
  });
  return build(x.shape, [&](const Dims& i) {
    const double unit = (x(i) - mean[group(i)]) / std::sqrt(var[group(i)] + eps);
    return unit * (w != nullptr ? (*w)({place(i)}) : 1) + (b != nullptr ? (*b)({place(i)}) : 0);
  });
}

struct Norm {
  Shape shape;
  double eps;
  int64_t groups = 1;  // group norm
  double mean = 0;
  bool affine = true;
};

// A case with x, and w and b of the given length where the norm is affine.
Case norm_case(const Norm& n, int64_t length,
               std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)> call,
               std::function<Array(const Array&, const Array*, const Array*)> reference) {
  Case c{.label = fmt::format("{} eps {} mean {}{}", n.shape, n.eps, n.mean,
                              n.affine ? "" : " without weights"),
         .inputs = {normal(n.shape, n.mean, 1)},
         .call =
             [=](const Tensors& in) {
               return n.affine ? call(in[0], in[1], in[2]) : call(in[0], {}, {});
             },
         .reference =
             [=](const Arrays& in) {
               return n.affine ? reference(in[0], &in[1], &in[2])
                               : reference(in[0], nullptr, nullptr);
             },
         // f32 keeps no more than 1e-7 of the mean in each x.
         .roundings = n.mean == 0 ? 2 : 0};
  if (n.affine) c.inputs.insert(c.inputs.end(), {normal({length}, 1, 0.3), normal({length})});
  return c;
}

Row layer_norm_row() {
  Row row{"layer_norm", {}, {}};
  for (const Norm& n : {Norm{{2, 2, 6}, 1e-6},
                        {{3, 5}, 1e-5, 1, 0, false},
                        {{4}, 1e-6},
                        {{0, 4}, 1e-6},
                        {{2, 9}, 1e-6, 1, 100},
                        {{1, 1}, 1e-2}}) {
    row.cases.push_back(norm_case(
        n, n.shape.back(),
        [n](const Tensor& x, const Tensor& w, const Tensor& b) {
          return layer_norm(x, w, b, n.eps);
        },
        [n](const Array& x, const Array* w, const Array* b) {
          const int last = n.shape.size() - 1;
          const int64_t width = n.shape[last];
          return normalised(
              x, w, b, n.eps, x.size() / width,
              [&](const Dims& i) { return x.position(i) / width; },
              [=](const Dims& i) { return i[last]; });
        }));
  }
  row.refusals = {{"a weight of another width",
                   [] {
                     layer_norm(f32({2, 4}), f32({3}), f32({3}), 1e-6);
                   },
                   {"(2, 4)", "(3,)"}},
                  {"a bias of another width",
                   [] {
                     layer_norm(f32({2, 4}), f32({4}), f32({3}), 1e-6);
                   },
                   {"(2, 4)", "(3,)"}},
                  {"two dtypes",
                   [] {
                     layer_norm(f32({2, 4}), f64({4}), f64({4}), 1e-6);
                   },
                   {"f32", "f64"}},
                  {"a 0-d input", [] { layer_norm(f32({}), {}, {}, 1e-6); }, {"()"}},
                  {"integers",
                   [] {
                     layer_norm(i64({2, 4}), {}, {}, 1e-6);
                   },
                   {"i64"}}};
  return row;
}

// The sum, the norm, and both at once, whose gradients meet in one pass.
Row add_layer_norm_row() {
  Row row{"add_layer_norm", {}, {}};
  enum Part { kSum, kNormed, kBoth };
  for (const Part part : {kBoth, kNormed, kSum}) {
    for (const Norm& n : {Norm{{2, 2, 6}, 1e-6},
                          {{3, 5}, 1e-5, 1, 0, false},
                          {{4}, 1e-6},
                          {{0, 4}, 1e-6},
                          {{1, 1}, 1e-2}}) {
      const int64_t width = n.shape.back();
      const auto take = [=](const NormedSum& s) {
        if (part == kBoth) return stack({s.sum, s.normed}, 0);
        return part == kSum ? s.sum : s.normed;
      };
      Case c{.label = fmt::format("{} of {}{}",
                                  part == kBoth ? "both" : (part == kSum ? "the sum" : "the norm"),
                                  n.shape, n.affine ? "" : " without weights"),
             .inputs = {normal(n.shape), normal(n.shape)},
             .call =
                 [=](const Tensors& in) {
                   return take(add_layer_norm(in[0], in[1], n.affine ? in[2] : Tensor(),
                                              n.affine ? in[3] : Tensor(), n.eps));
                 },
             .reference =
                 [=](const Arrays& in) {
                   const Array sum =
                       build(n.shape, [&](const Dims& i) { return in[0](i) + in[1](i); });
                   const int last = n.shape.size() - 1;
                   const Array normed = normalised(
                       sum, n.affine ? &in[2] : nullptr, n.affine ? &in[3] : nullptr, n.eps,
                       sum.size() / width, [&](const Dims& i) { return sum.position(i) / width; },
                       [=](const Dims& i) { return i[last]; });
                   if (part != kBoth) return part == kSum ? sum : normed;
                   Shape two = n.shape;
                   two.insert(0, 2);
                   return build(two, [&](const Dims& i) {
                     Dims at = i;
                     at.erase(0);
                     return i[0] == 0 ? sum(at) : normed(at);
                   });
                 },
             .roundings = 4};
      if (n.affine) c.inputs.insert(c.inputs.end(), {normal({width}, 1, 0.3), normal({width})});
      if (n.affine && part == kSum) {  // which does not depend on them
        for (size_t k : {2, 3}) c.inputs[k] = constant(c.inputs[k]);
      }
      row.cases.push_back(c);
    }
  }
  row.refusals = {{"a branch of another shape",
                   [] {
                     add_layer_norm(f32({2, 4}), f32({1, 4}), f32({4}), f32({4}), 1e-6);
                   },
                   {"(2, 4)", "(1, 4)"}},
                  {"a branch of another dtype",
                   [] {
                     add_layer_norm(f32({2, 4}), f64({2, 4}), f32({4}), f32({4}), 1e-6);
                   },
                   {"f32", "f64"}},
                  {"a weight of another width",
                   [] {
                     add_layer_norm(f32({2, 4}), f32({2, 4}), f32({3}), f32({3}), 1e-6);
                   },
                   {"(2, 4)", "(3,)"}},
                  {"no branch",
                   [] {
                     add_layer_norm(f32({2, 4}), {}, f32({4}), f32({4}), 1e-6);
                   },
                   {}},
                  {"integers",
                   [] {
                     add_layer_norm(i64({2, 4}), i64({2, 4}), {}, {}, 1e-6);
                   },
                   {"i64"}}};
  return row;
}

Row batch_norm_row() {
  Row row{"batch_norm_train", {}, {}};
  for (const Norm& n : {Norm{{5, 3}, 1e-5}, {{2, 2, 3, 2}, 1e-5}, {{3, 2, 4}, 1e-5, 1, 0, false}}) {
    Case c = norm_case(
        n, n.shape[1],
        [n](const Tensor& x, const Tensor& w, const Tensor& b) {
          return batch_norm_train(x, w, b, n.eps);
        },
        [n](const Array& x, const Array* w, const Array* b) {
          const auto channel = [](const Dims& i) { return i[1]; };
          return normalised(x, w, b, n.eps, n.shape[1], channel, channel);
        });
    c.roundings = 12;
    c.expandable = n.shape.size() > 2;  // else all rows would be equal
    row.cases.push_back(c);
  }
  // The statistics are the batch's mean and biased variance.
  row.cases.push_back({.label = "statistics",
                       .inputs = {constant(normal({6, 2}, 3, 2))},
                       .call =
                           [](const Tensors& in) {
                             BatchStatistics s;
                             batch_norm_train(in[0], {}, {}, 1e-5, &s);
                             return stack({s.mean, s.var}, 0);
                           },
                       .reference =
                           [](const Arrays& in) {
                             Array out({2, 2});
                             for (int64_t c = 0; c < 2; ++c) {
                               for (int64_t n = 0; n < 6; ++n) out({0, c}) += in[0]({n, c}) / 6;
                               for (int64_t n = 0; n < 6; ++n) {
                                 out({1, c}) += std::pow(in[0]({n, c}) - out({0, c}), 2) / 6;
                               }
                             }
                             return out;
                           },
                       .roundings = 8});
  row.refusals = {{"a weight of another width",
                   [] {
                     batch_norm_train(f32({2, 4}), f32({3}), f32({3}), 1e-5);
                   },
                   {"(2, 4)", "(3,)"}},
                  {"one dimension", [] { batch_norm_train(f32({4}), {}, {}, 1e-5); }, {"(4,)"}},
                  {"two dtypes",
                   [] {
                     batch_norm_train(f32({2, 4}), f64({4}), f64({4}), 1e-5);
                   },
                   {"f32", "f64"}}};
  return row;
}

Row group_norm_row() {
  Row row{"group_norm", {}, {}};
  for (const Norm& n :
       {Norm{{2, 4, 2, 2}, 1e-5, 2}, {{1, 3, 5}, 1e-5, 3}, {{2, 2, 4}, 1e-5, 1, 0, false}}) {
    Case c = norm_case(
        n, n.shape[1],
        [n](const Tensor& x, const Tensor& w, const Tensor& b) {
          return group_norm(x, n.groups, w, b, n.eps);
        },
        [n](const Array& x, const Array* w, const Array* b) {
          const int64_t each = n.shape[1] / n.groups;
          return normalised(
              x, w, b, n.eps, n.shape[0] * n.groups,
              [=](const Dims& i) { return i[0] * n.groups + i[1] / each; },
              [](const Dims& i) { return i[1]; });
        });
    c.roundings = 4;
    row.cases.push_back(c);
  }
  row.refusals = {{"groups that do not divide",
                   [] {
                     group_norm(f32({2, 4, 3}), 3, {}, {}, 1e-5);
                   },
                   {"(2, 4, 3)", "3"}},
                  {"a weight of another width",
                   [] {
                     group_norm(f32({2, 4, 3}), 2, f32({3}), f32({3}), 1e-5);
                   },
                   {"(3,)"}},
                  {"no groups",
                   [] {
                     group_norm(f32({2, 4, 3}), 0, {}, {}, 1e-5);
                   },
                   {"0"}}};
  return row;
}

Row softmax_row(bool logarithm) {
  Row row{logarithm ? "log_softmax" : "softmax", {}, {}};
  struct Args {
    Shape shape;
    int dim;
    double deviation;
  };
  for (const Args& a : {Args{{2, 3, 4}, 0, 1},
                        {{2, 3, 4}, 1, 1},
                        {{2, 5}, -1, 1},
                        {{3}, 0, 1},
                        {{0, 4}, 1, 1},
                        {{2, 4}, 1, 300},
                        {{2, 1}, 1, 1}}) {
    row.cases.push_back({.label = fmt::format("{} in {} deviation {}", a.shape, a.dim, a.deviation),
                         .inputs = {normal(a.shape, 0, a.deviation)},
                         .call =
                             [=](const Tensors& in) {
                               return logarithm ? log_softmax(in[0], a.dim) : softmax(in[0], a.dim);
                             },
                         .reference =
                             [=](const Arrays& in) {
                               const int d = a.dim < 0 ? a.dim + a.shape.size() : a.dim;
                               return build(a.shape, [&](const Dims& i) {
                                 double largest = -INFINITY, total = 0;
                                 for (int64_t k = 0; k < a.shape[d]; ++k) {
                                   largest = std::fmax(largest, in[0](with(i, d, k)));
                                 }
                                 for (int64_t k = 0; k < a.shape[d]; ++k) {
                                   total += std::exp(in[0](with(i, d, k)) - largest);
                                 }
                                 const double log = in[0](i) - largest - std::log(total);
                                 return logarithm ? log : std::exp(log);
                               });
                             }});
  }
  const auto call = [=](const Tensor& x, int64_t dim) {
    return [=] { logarithm ? log_softmax(x, dim) : softmax(x, dim); };
  };
  row.refusals = {{"no such dimension", call(f32({2, 3}), 2), {"2"}},
                  {"integers", call(i64({2, 3}), 1), {"i64"}},
                  {"a 0-d input", call(f32({}), 0), {}}};
  return row;
}

}  // namespace

std::vector<Row> norm_rows() {
  return {layer_norm_row(), add_layer_norm_row(), batch_norm_row(),
          group_norm_row(), softmax_row(false),   softmax_row(true)};
}

}  // namespace tessera::ops_test
