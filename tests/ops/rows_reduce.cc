// Rows of the reductions and of order: sum, mean, var, amax, argmax, argsort, cumsum.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

struct Reduction {
  Shape shape;
  Dims dims;
  bool keepdim;
};

std::string label_of(const Reduction& r) {
  return fmt::format("{} over {}{}", r.shape, r.dims, r.keepdim ? " kept" : "");
}

const Reduction kReductions[] = {
    {{2, 3, 4}, {0}, false},   {{2, 3, 4}, {1}, true},         {{2, 3, 4}, {-1}, false},
    {{2, 3, 4}, {0, 2}, true}, {{2, 3, 4}, {}, false},         {{3, 4}, {}, true},
    {{5}, {0}, false},         {{2, 3, 2, 2}, {1, -1}, false},
};

bool reduces(const Reduction& r, int dim) {
  if (r.dims.empty()) return true;
  for (int64_t d : r.dims) {
    if ((d < 0 ? d + r.shape.size() : d) == dim) return true;
  }
  return false;
}

// combine(values) of the elements that fall together.
template <class Combine>
Array reduced(const Array& x, const Reduction& r, Combine combine) {
  Shape kept;  // with 1 in the reduced places
  for (int d = 0; d < x.ndim(); ++d) kept.push_back(reduces(r, d) ? 1 : x.shape[d]);
  Array out = build(kept, [&](const Dims& at) {
    std::vector<double> group;
    each_index(x.shape, [&](const Dims& i) {
      for (int d = 0; d < i.size(); ++d) {
        if (!reduces(r, d) && i[d] != at[d]) return;
      }
      group.push_back(x(i));
    });
    return combine(group);
  });
  if (!r.keepdim) {
    Shape shape;
    for (int d = 0; d < x.ndim(); ++d) {
      if (!reduces(r, d)) shape.push_back(x.shape[d]);
    }
    out.shape = shape;
  }
  return out;
}

double sum_of(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double mean_of(const std::vector<double>& v) { return sum_of(v) / static_cast<double>(v.size()); }
double var_of(const std::vector<double>& v, bool unbiased) {
  const double mean = mean_of(v);
  double squares = 0;
  for (double x : v) squares += (x - mean) * (x - mean);
  return squares / static_cast<double>(v.size() - (unbiased ? 1 : 0));
}

Row sum_row() {
  Row row{"sum", {}, {}};
  std::vector<Reduction> all(std::begin(kReductions), std::end(kReductions));
  all.insert(all.end(),
             {{{}, {}, false}, {{0, 3}, {0}, false}, {{0, 3}, {1}, true}, {{0}, {}, false}});
  for (const Reduction& r : all) {
    row.cases.push_back({.label = label_of(r),
                         .inputs = {normal(r.shape)},
                         .call = [r](const Tensors& in) { return sum(in[0], r.dims, r.keepdim); },
                         .reference = [r](const Arrays& in) { return reduced(in[0], r, sum_of); }});
  }
  row.refusals = {{"no such dimension",
                   [] {
                     sum(f32({2, 3}), {2});
                   },
                   {"2"}},
                  {"a dimension twice",
                   [] {
                     sum(f32({2, 3}), {1, -1});
                   },
                   {"dimension 1"}}};
  return row;
}

Row mean_row() {
  Row row{"mean", {}, {}};
  for (const Reduction& r : kReductions) {
    row.cases.push_back({.label = label_of(r),
                         .inputs = {normal(r.shape)},
                         .call = [r](const Tensors& in) { return mean(in[0], r.dims, r.keepdim); },
                         .reference = [r](const Arrays& in) { return reduced(in[0], r, mean_of); },
                         .roundings = 3});
  }
  row.refusals = {{"no such dimension",
                   [] {
                     mean(f32({2, 3}), {2});
                   },
                   {"2"}},
                  {"integers",
                   [] {
                     mean(i64({2, 3}));
                   },
                   {"i64", "(2, 3)"}}};
  return row;
}

Row var_row() {
  Row row{"var", {}, {}};
  for (const bool unbiased : {true, false}) {
    for (const Reduction& r : kReductions) {
      row.cases.push_back(
          {.label = label_of(r) + (unbiased ? " unbiased" : " biased"),
           .inputs = {normal(r.shape)},
           .call = [=](const Tensors& in) { return var(in[0], r.dims, r.keepdim, unbiased); },
           .reference =
               [=](const Arrays& in) {
                 return reduced(in[0], r, [&](const auto& v) { return var_of(v, unbiased); });
               },
           .roundings = 8});
    }
  }
  // E[x^2] - E[x]^2 would lose every digit here.
  row.cases.push_back({.label = "a large mean",
                       .inputs = {normal({3, 40}, 1000, 1)},
                       .call = [](const Tensors& in) { return var(in[0], {1}); },
                       .reference =
                           [](const Arrays& in) {
                             return reduced(in[0], {{3, 40}, {1}, false},
                                            [](const auto& v) { return var_of(v, true); });
                           },
                       .roundings = 0});
  row.refusals = {{"no such dimension",
                   [] {
                     var(f32({2, 3}), {2});
                   },
                   {"2"}},
                  {"integers",
                   [] {
                     var(i64({2, 3}));
                   },
                   {"i64", "(2, 3)"}}};
  return row;
}

Row amax_row() {
  Row row{"amax", {}, {}};
  for (const Reduction& r : kReductions) {
    row.cases.push_back({.label = label_of(r),
                         .inputs = {distinct(r.shape)},
                         .call = [r](const Tensors& in) { return amax(in[0], r.dims, r.keepdim); },
                         .reference =
                             [r](const Arrays& in) {
                               return reduced(in[0], r, [](const auto& v) {
                                 return *std::max_element(v.begin(), v.end());
                               });
                             },
                         .expandable = false});
  }
  row.refusals = {{"nothing to choose from",
                   [] {
                     amax(f32({2, 0}), {1});
                   },
                   {"(2, 0)"}},
                  {"no such dimension",
                   [] {
                     amax(f32({2, 3}), {2});
                   },
                   {"2"}}};
  return row;
}

// The positions 0..n-1 of x along dim at `at`, sorted ascending by value, equals in place.
std::vector<int64_t> order_along(const Array& x, int dim, const Dims& at) {
  std::vector<int64_t> order(static_cast<size_t>(x.shape[dim]));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return x(with(at, dim, a)) < x(with(at, dim, b)); });
  return order;
}

Row argmax_row() {
  Row row{"argmax", {}, {}};
  const auto first_largest = [](const Array& x, int dim, const Dims& at) {
    int64_t best = 0;
    for (int64_t k = 1; k < x.shape[dim]; ++k) {
      if (x(with(at, dim, k)) > x(with(at, dim, best))) best = k;
    }
    return static_cast<double>(best);
  };
  for (const auto& [shape, dim, keepdim] : {std::tuple{Shape{2, 3, 4}, 0, false},
                                            {Shape{2, 3, 4}, 1, true},
                                            {Shape{2, 9}, -1, false},
                                            {Shape{5}, 0, false},
                                            {Shape{0, 3}, 1, false}}) {
    for (const Input& input : {constant(distinct(shape)), levels(shape, 0, 2)}) {
      row.cases.push_back({.label = fmt::format("{} in {}{}", shape, dim, keepdim ? " kept" : ""),
                           .inputs = {input},
                           .call = [=](const Tensors& in) { return argmax(in[0], dim, keepdim); },
                           .reference =
                               [=](const Arrays& in) {
                                 const int d = dim < 0 ? dim + in[0].ndim() : dim;
                                 Array out = build(with(in[0].shape, d, 1), [&](const Dims& i) {
                                   return first_largest(in[0], d, i);
                                 });
                                 if (!keepdim) out.shape = without(out.shape, d);
                                 return out;
                               },
                           .result = DType::kI64});
    }
  }
  row.refusals = {{"no such dimension",
                   [] {
                     argmax(f32({2, 3}), 2);
                   },
                   {"2"}},
                  {"nothing to choose from",
                   [] {
                     argmax(f32({2, 0}), 1);
                   },
                   {"(2, 0)"}}};
  return row;
}

Row argsort_row() {
  Row row{"argsort", {}, {}};
  for (const auto& [shape, dim] : {std::pair{Shape{2, 3, 4}, 0},
                                   {Shape{2, 3, 4}, 1},
                                   {Shape{3, 70}, -1},
                                   {Shape{5}, 0},
                                   {Shape{0, 3}, 1},
                                   {Shape{3, 0}, 1}}) {
    for (const Input& input : {constant(distinct(shape)), levels(shape, 0, 3)}) {
      row.cases.push_back({.label = fmt::format("{} in {}", shape, dim),
                           .inputs = {input},
                           .call = [dim](const Tensors& in) { return argsort(in[0], dim); },
                           .reference =
                               [dim](const Arrays& in) {
                                 const int d = dim < 0 ? dim + in[0].ndim() : dim;
                                 return build(in[0].shape, [&](const Dims& i) {
                                   return static_cast<double>(
                                       order_along(in[0], d, i)[static_cast<size_t>(i[d])]);
                                 });
                               },
                           .result = DType::kI64});
    }
  }
  row.refusals = {{"no such dimension", [] { argsort(f32({2, 3}), 2); }, {"2"}}};
  return row;
}

Row cumsum_row() {
  Row row{"cumsum", {}, {}};
  for (const auto& [shape, dim] : {std::pair{Shape{2, 3, 4}, 0},
                                   {Shape{2, 3, 4}, 1},
                                   {Shape{2, 5}, -1},
                                   {Shape{0, 3}, 1},
                                   {Shape{3, 0}, 1}}) {
    row.cases.push_back({.label = fmt::format("{} in {}", shape, dim),
                         .inputs = {normal(shape)},
                         .call = [dim](const Tensors& in) { return cumsum(in[0], dim); },
                         .reference =
                             [dim](const Arrays& in) {
                               const int d = dim < 0 ? dim + in[0].ndim() : dim;
                               return build(in[0].shape, [&](const Dims& i) {
                                 double total = 0;
                                 for (int64_t k = 0; k <= i[d]; ++k) total += in[0](with(i, d, k));
                                 return total;
                               });
                             },
                         .roundings = 2});
  }
  row.refusals = {{"no such dimension", [] { cumsum(f32({2, 3}), 2); }, {"2"}}};
  return row;
}

}  // namespace

std::vector<Row> reduce_rows() {
  return {sum_row(), mean_row(), var_row(), amax_row(), argmax_row(), argsort_row(), cumsum_row()};
}

}  // namespace tessera::ops_test
