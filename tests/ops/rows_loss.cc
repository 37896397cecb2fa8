// Rows of the losses and of what drops elements at random.
#include <cmath>

#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

struct CrossEntropy {
  Shape logits, labels;
  double smoothing;
  int64_t ignored;
};

Array cross_entropy_of(const Arrays& in, const CrossEntropy& c) {
  const int64_t classes = c.logits[1];
  double total = 0, counted = 0;
  each_index(c.labels, [&](const Dims& i) {
    const int64_t label = static_cast<int64_t>(in[1](i));
    if (label == c.ignored) return;
    Dims at = i;
    at.insert(1, 0);
    const auto logit = [&](int64_t k) { return in[0](with(at, 1, k)); };
    double sum = 0, mean = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(logit(k));
    for (int64_t k = 0; k < classes; ++k) {
      mean += (std::log(sum) - logit(k)) / static_cast<double>(classes);
    }
    total += (1 - c.smoothing) * (std::log(sum) - logit(label)) + c.smoothing * mean;
    counted += 1;
  });
  return Array({}, total / counted);
}

Row cross_entropy_row() {
  Row row{"cross_entropy", {}, {}};
  for (const CrossEntropy& c : {CrossEntropy{{4, 5}, {4}, 0, -100},
                                {{4, 5}, {4}, 0.1, -100},
                                {{2, 3, 2, 2}, {2, 2, 2}, 0, 1},
                                {{6, 4}, {6}, 0.2, 2},
                                {{2, 3, 5}, {2, 5}, 0.1, 0}}) {
    row.cases.push_back(
        {.label = fmt::format("{} smoothing {} ignoring {}", c.logits, c.smoothing, c.ignored),
         .inputs = {normal(c.logits), index_below(c.labels, c.logits[1])},
         .call =
             [c](const Tensors& in) { return cross_entropy(in[0], in[1], c.smoothing, c.ignored); },
         .reference = [c](const Arrays& in) { return cross_entropy_of(in, c); },
         .widens = true});
  }
  row.refusals = {{"a label beyond the classes",
                   [] {
                     cross_entropy(f32({2, 3}), i64({2}, 3));
                   },
                   {"3"}},
                  {"a negative label",
                   [] {
                     cross_entropy(f32({2, 3}), i64({2}, -1));
                   },
                   {"3"}},
                  {"labels of another shape",
                   [] {
                     cross_entropy(f32({2, 3}), i64({3}));
                   },
                   {"(2, 3)", "(3,)"}},
                  {"labels that are no i64",
                   [] {
                     cross_entropy(f32({2, 3}), f32({2}));
                   },
                   {"f32", "i64"}},
                  {"integer logits",
                   [] {
                     cross_entropy(i64({2, 3}), i64({2}));
                   },
                   {"i64"}},
                  {"one dimension", [] { cross_entropy(f32({3}), i64({3})); }, {"(3,)"}}};
  return row;
}

// A loss of two arrays of one shape.
Row pair_row(const std::string& op, const Input& x, const Input& t, int roundings,
             std::function<Tensor(const Tensor&, const Tensor&)> call,
             std::function<double(const Array&, const Array&)> loss) {
  Row row{op, {}, {}};
  row.cases.push_back({.label = to_string(x.shape),
                       .inputs = {x, t},
                       .call = [=](const Tensors& in) { return call(in[0], in[1]); },
                       .reference = [=](const Arrays& in) { return Array({}, loss(in[0], in[1])); },
                       .roundings = roundings});
  row.refusals = {{"other shapes",
                   [=] {
                     call(f32({2, 3}), f32({2, 4}));
                   },
                   {"(2, 3)", "(2, 4)"}},
                  {"shapes that would broadcast",
                   [=] {
                     call(f32({2, 3}), f32({2, 1}));
                   },
                   {"(2, 3)", "(2, 1)"}},
                  {"two dtypes",
                   [=] {
                     call(f32({2, 3}), f64({2, 3}));
                   },
                   {"f32", "f64"}}};
  return row;
}

// The mean of part(x, t) over count elements.
template <class Part>
double mean_of(const Array& x, const Array& t, double count, Part part) {
  double total = 0;
  for (size_t k = 0; k < x.values.size(); ++k) total += part(x.values[k], t.values[k]);
  return total / count;
}

std::vector<Row> pair_rows() {
  const auto soft = [](const Array& x, const Array& t) {
    double total = 0;
    for (int64_t n = 0; n < x.shape[0]; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < x.shape[1]; ++k) sum += std::exp(x({n, k}));
      for (int64_t k = 0; k < x.shape[1]; ++k) total += t({n, k}) * (std::log(sum) - x({n, k}));
    }
    return total / static_cast<double>(x.shape[0]);
  };
  const auto mse = [](const Array& x, const Array& t) {
    return mean_of(x, t, double(x.size()), [](double a, double b) { return (a - b) * (a - b); });
  };
  const auto smooth = [](double beta) {
    return [beta](const Array& x, const Array& t) {
      return mean_of(x, t, double(x.size()), [beta](double a, double b) {
        const double d = std::fabs(a - b);
        return d < beta ? 0.5 * d * d / beta : d - 0.5 * beta;
      });
    };
  };
  const auto divergence = [](const Array& x, const Array& t) {
    return mean_of(x, t, double(x.shape[0]),
                   [](double a, double b) { return std::exp(b) * (b - a); });
  };
  Row smooth_l1 = pair_row(
      "smooth_l1_loss", normal({3, 4}), normal({3, 4}), 8,
      [](const Tensor& x, const Tensor& t) { return smooth_l1_loss(x, t); }, smooth(1));
  smooth_l1.cases.push_back(
      pair_row(
          "", normal({5}), normal({5}), 8,
          [](const Tensor& x, const Tensor& t) { return smooth_l1_loss(x, t, 0.3); }, smooth(0.3))
          .cases[0]);
  smooth_l1.refusals.push_back(
      {"beta 0", [] { smooth_l1_loss(f32({2}), f32({2}), 0); }, {"beta", "0"}});
  return {pair_row("soft_cross_entropy", normal({4, 5}), constant(uniform({4, 5}, 0, 1)), 8,
                   soft_cross_entropy, soft),
          pair_row("mse_loss", normal({3, 4}), normal({3, 4}), 6, mse_loss, mse), smooth_l1,
          pair_row("kl_div_log_target_batchmean", normal({3, 4}), normal({3, 4}), 12,
                   kl_div_log_target_batchmean, divergence)};
}

Row patch_loss_row() {
  Row row{"patch_loss", {}, {}};
  struct Args {
    Shape imgs;
    int64_t patch, listed;
    bool normalise;
  };
  for (const Args& a : {Args{{2, 3, 4, 6}, 2, 4, false},
                        {{2, 3, 4, 6}, 2, 4, true},
                        {{1, 1, 3, 6}, 3, 5, true},
                        {{3, 2, 2, 2}, 1, 2, false}}) {
    const int64_t p = a.patch, channels = a.imgs[1], across = a.imgs[3] / p;
    const Shape shape = {a.imgs[0], a.listed, p * p * channels};
    const auto loss = [=](const Arrays& in) {
      double total = 0;
      for (int64_t b = 0; b < shape[0]; ++b) {
        for (int64_t t = 0; t < shape[1]; ++t) {
          const auto id = static_cast<int64_t>(in[2]({b, t}));
          std::vector<double> patch;
          for (int64_t r = 0; r < p; ++r) {
            for (int64_t x = 0; x < p; ++x) {
              for (int64_t c = 0; c < channels; ++c) {
                patch.push_back(in[1]({b, c, id / across * p + r, id % across * p + x}));
              }
            }
          }
          double mean = 0, var = 0;
          for (const double v : patch) mean += v / double(patch.size());
          for (const double v : patch) var += (v - mean) * (v - mean) / double(patch.size() - 1);
          for (size_t i = 0; i < patch.size(); ++i) {
            const double wanted =
                a.normalise ? (patch[i] - mean) / std::sqrt(var + 1e-6) : patch[i];
            const double d = in[0]({b, t, static_cast<int64_t>(i)}) - wanted;
            total += d * d;
          }
        }
      }
      return Array({}, total / double(shape[0] * shape[1] * shape[2]));
    };
    row.cases.push_back({.label = fmt::format("patches of {} in {}{}", p, a.imgs,
                                              a.normalise ? ", normalised" : ""),
                         .inputs = {normal(shape), constant(normal(a.imgs, 0.5, 0.3)),
                                    index_below({shape[0], shape[1]}, a.imgs[2] / p * across)},
                         .call =
                             [a](const Tensors& in) {
                               return patch_loss(in[0], in[1], in[2], a.patch, a.normalise);
                             },
                         .reference = loss,
                         .expandable = !a.normalise,
                         .widens = true});
  }
  const auto call = [](const Tensor& pred, const Tensor& imgs, const Tensor& ids) {
    return [=] { patch_loss(pred, imgs, ids, 2, false); };
  };
  const Shape imgs = {2, 3, 4, 6};
  row.refusals = {
      {"a patch beyond the last", call(f32({2, 4, 12}), f32(imgs), i64({2, 4}, 6)), {"6"}},
      {"values that make no patch", call(f32({2, 4, 11}), f32(imgs), i64({2, 4})), {"(2, 4, 11)"}},
      {"ids of another shape", call(f32({2, 4, 12}), f32(imgs), i64({2, 3})), {"(2, 3)"}},
      {"ids that are no i64", call(f32({2, 4, 12}), f32(imgs), f32({2, 4})), {"f32"}},
      {"pictures that do not divide", call(f32({2, 4, 12}), f32({2, 3, 5, 6}), i64({2, 4})), {"5"}},
      {"two dtypes", call(f32({2, 4, 12}), f64(imgs), i64({2, 4})), {"f32", "f64"}}};
  return row;
}

// The reference draws from the key itself, as the header promises.
Row drop_row(bool path) {
  Row row{path ? "drop_path" : "dropout", {}, {}};
  const RandomKey key{12345, 6, 1030};
  struct Args {
    Shape shape;
    double p;
  };
  for (const Args& a :
       {Args{{3, 7}, 0.3}, {{8, 2, 2}, 0.6}, {{5}, 0}, {{0, 3}, 0.5}, {{41}, 0.9}}) {
    row.cases.push_back({.label = fmt::format("{} p {}", a.shape, a.p),
                         .inputs = {normal(a.shape)},
                         .call =
                             [=](const Tensors& in) {
                               return path ? drop_path(in[0], a.p, key) : dropout(in[0], a.p, key);
                             },
                         .reference =
                             [=](const Arrays& in) {
                               return build(a.shape, [&](const Dims& i) {
                                 const int64_t draw = path ? i[0] : in[0].position(i);
                                 const bool kept =
                                     double(key.uniform(static_cast<uint64_t>(draw))) >= a.p;
                                 return kept ? in[0](i) / (1 - a.p) : 0.0;
                               });
                             }});
  }
  const auto call = [=](double p) {
    return [=] { path ? drop_path(f32({2, 3}), p, key) : dropout(f32({2, 3}), p, key); };
  };
  row.refusals = {{"p above 1", call(1.5), {"1.5"}}, {"a negative p", call(-0.1), {"-0.1"}}};
  return row;
}

}  // namespace

std::vector<Row> loss_rows() {
  std::vector<Row> rows = pair_rows();
  rows.push_back(cross_entropy_row());
  rows.push_back(patch_loss_row());
  rows.push_back(drop_row(false));
  rows.push_back(drop_row(true));
  return rows;
}

}  // namespace tessera::ops_test
