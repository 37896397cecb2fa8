// Rows of the ops that show elements in another shape and move none.
#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

// Row-major renumbering under another shape.
Array reshaped(const Array& x, const Shape& shape) {
  Array out = x;
  out.shape = shape;
  return out;
}

Row reshape_row() {
  Row row{"reshape", {}, {}};
  const std::tuple<Shape, Shape, Shape> shapes[] = {
      {{2, 6}, {3, 4}, {3, 4}},       {{2, 3, 4}, {-1, 4}, {6, 4}},
      {{}, {1, 1}, {1, 1}},           {{1}, {}, {}},
      {{0, 3}, {3, 0, 2}, {3, 0, 2}}, {{4, 3}, {-1}, {12}},
  };
  for (const auto& [from, asked, to] : shapes) {
    row.cases.push_back({.label = to_string(from) + " to " + to_string(asked),
                         .inputs = {normal(from)},
                         .call = [asked](const Tensors& in) { return reshape(in[0], asked); },
                         .reference = [to](const Arrays& in) { return reshaped(in[0], to); }});
  }
  row.cases.push_back(
      {.label = "of a transposed tensor",
       .inputs = {normal({3, 4})},
       .call =
           [](const Tensors& in) {
             return reshape(transpose(in[0], 0, 1), {2, 6});
           },
       .reference =
           [](const Arrays& in) {
             const Array t = build({4, 3}, [&](const Dims& i) { return in[0]({i[1], i[0]}); });
             return reshaped(t, {2, 6});
           }});
  row.refusals = {
      {"another count",
       [] {
         reshape(f32({2, 3}), {4, 2});
       },
       {"(2, 3)", "(4, 2)"}},
      {"two unknown sizes",
       [] {
         reshape(f32({2, 3}), {-1, -1});
       },
       {"(2, 3)", "(-1, -1)"}},
      {"a size that does not divide",
       [] {
         reshape(f32({2, 3}), {4, -1});
       },
       {"(2, 3)", "(4, -1)"}},
  };
  return row;
}

Array permuted(const Array& x, const Dims& dims) {
  Shape shape;
  for (int64_t d : dims) shape.push_back(x.shape[static_cast<int>(d < 0 ? d + x.ndim() : d)]);
  return build(shape, [&](const Dims& i) {
    Dims source = Dims::filled(i.size(), 0);
    for (int k = 0; k < i.size(); ++k) {
      source[static_cast<int>(dims[k] < 0 ? dims[k] + x.ndim() : dims[k])] = i[k];
    }
    return x(source);
  });
}

Row permute_row() {
  Row row{"permute", {}, {}};
  const std::pair<Shape, Dims> cases[] = {
      {{2, 3, 4}, {2, 0, 1}}, {{2, 3, 4}, {0, -1, 1}}, {{}, {}}, {{0, 2}, {1, 0}}, {{5}, {0}}};
  for (const auto& [shape, dims] : cases) {
    row.cases.push_back({.label = to_string(shape) + " by " + to_string(dims),
                         .inputs = {normal(shape)},
                         .call = [dims](const Tensors& in) { return permute(in[0], dims); },
                         .reference = [dims](const Arrays& in) { return permuted(in[0], dims); }});
  }
  row.refusals = {
      {"a dimension twice",
       [] {
         permute(f32({2, 3}), {0, 0});
       },
       {"(0, 0)"}},
      {"too few dimensions",
       [] {
         permute(f32({2, 3}), {0});
       },
       {"(2, 3)"}},
      {"no such dimension",
       [] {
         permute(f32({2, 3}), {0, 2});
       },
       {"2"}},
  };
  return row;
}

Row transpose_row() {
  Row row{"transpose", {}, {}};
  for (const auto& [a, b] : {std::pair{0, 2}, {-1, -2}, {1, 1}}) {
    row.cases.push_back({.label = std::to_string(a) + " and " + std::to_string(b),
                         .inputs = {normal({2, 3, 4})},
                         .call = [a, b](const Tensors& in) { return transpose(in[0], a, b); },
                         .reference =
                             [a, b](const Arrays& in) {
                               Dims dims{0, 1, 2};
                               std::swap(dims[(a + 3) % 3], dims[(b + 3) % 3]);
                               return permuted(in[0], dims);
                             }});
  }
  row.refusals = {{"no such dimension", [] { transpose(f32({2, 3}), 0, 2); }, {"2"}}};
  return row;
}

Row expand_row() {
  Row row{"expand", {}, {}};
  const std::pair<Shape, Shape> cases[] = {{{3, 1}, {4, 3, 2}},
                                           {{}, {2, 3}},
                                           {{1, 4}, {0, 4}},
                                           {{2, 3}, {2, 3}},
                                           {{1, 2, 1}, {3, 2, 5}}};
  for (const auto& [from, to] : cases) {
    row.cases.push_back({.label = to_string(from) + " to " + to_string(to),
                         .inputs = {normal(from)},
                         .call = [to](const Tensors& in) { return expand(in[0], to); },
                         .reference =
                             [to](const Arrays& in) {
                               return build(to,
                                            [&](const Dims& i) { return broadcast_at(in[0], i); });
                             }});
  }
  row.refusals = {
      {"a size that is not 1",
       [] {
         expand(f32({3, 2}), {3, 4});
       },
       {"(3, 2)", "(3, 4)"}},
      {"fewer dimensions",
       [] {
         expand(f32({3, 1}), {3});
       },
       {"(3, 1)", "(3,)"}},
  };
  return row;
}

Row slice_row() {
  struct Args {
    Shape shape;
    int64_t dim, start, stop, step, count;
  };
  Row row{"slice", {}, {}};
  const Args cases[] = {{{2, 5, 3}, 1, 1, 4, 2, 2}, {{7}, 0, 0, 7, 3, 3},
                        {{4, 3}, -1, 1, 2, 1, 1},   {{4, 3}, 0, 2, 2, 1, 0},
                        {{0, 3}, 1, 0, 2, 1, 2},    {{6}, 0, 0, 6, 1, 6}};
  for (const Args& a : cases) {
    row.cases.push_back(
        {.label = fmt::format("{} dim {} {}:{}:{}", a.shape, a.dim, a.start, a.stop, a.step),
         .inputs = {normal(a.shape)},
         .call = [a](const Tensors& in) { return slice(in[0], a.dim, a.start, a.stop, a.step); },
         .reference =
             [a](const Arrays& in) {
               const int d = static_cast<int>(a.dim < 0 ? a.dim + a.shape.size() : a.dim);
               return build(with(a.shape, d, a.count), [&](const Dims& i) {
                 return in[0](with(i, d, a.start + a.step * i[d]));
               });
             }});
  }
  row.refusals = {
      {"beyond the end",
       [] {
         slice(f32({4, 3}), 0, 1, 5);
       },
       {"5", "(4, 3)"}},
      {"before the start",
       [] {
         slice(f32({4, 3}), 0, -5, 2);
       },
       {"(4, 3)"}},
      {"a stop before the start",
       [] {
         slice(f32({4, 3}), 0, 3, 2);
       },
       {"3", "2", "(4, 3)"}},
      {"step 0",
       [] {
         slice(f32({4, 3}), 0, 0, 2, 0);
       },
       {"step", "0"}},
      {"no such dimension",
       [] {
         slice(f32({4, 3}), 2, 0, 1);
       },
       {"2"}},
  };
  return row;
}

Row select_row() {
  Row row{"select", {}, {}};
  for (const auto& [dim, index] : {std::pair{0, 1}, {1, 2}, {-1, 0}}) {
    row.cases.push_back(
        {.label = std::to_string(dim) + " at " + std::to_string(index),
         .inputs = {normal({2, 3, 4})},
         .call = [dim, index](const Tensors& in) { return select(in[0], dim, index); },
         .reference =
             [dim, index](const Arrays& in) {
               const int d = (dim + 3) % 3;
               return build(without(in[0].shape, d), [&](const Dims& i) {
                 Dims source = i;
                 source.insert(d, index);
                 return in[0](source);
               });
             }});
  }
  row.refusals = {{"beyond the end",
                   [] {
                     select(f32({2, 3}), 1, 3);
                   },
                   {"3", "(2, 3)"}},
                  {"no such dimension",
                   [] {
                     select(f32({2, 3}), 2, 0);
                   },
                   {"2"}}};
  return row;
}

Row unbind_row() {
  Row row{"unbind", {}, {}};
  const auto swap_ends = [](const Arrays& in) {
    return build({2, 2, 4}, [&](const Dims& i) { return in[0]({i[1], i[0] == 0 ? 2 : 0, i[2]}); });
  };
  row.cases.push_back({.label = "the last and the first of three",
                       .inputs = {normal({2, 3, 4})},
                       .call =
                           [](const Tensors& in) {
                             const std::vector<Tensor> parts = unbind(in[0], 1);
                             return stack({parts.at(2), parts.at(0)}, 0);
                           },
                       .reference = swap_ends});
  row.cases.push_back(
      {.label = "one of three",
       .inputs = {normal({3})},
       .call = [](const Tensors& in) { return unbind(in[0], -1).at(1); },
       .reference =
           [](const Arrays& in) { return build({}, [&](const Dims&) { return in[0]({1}); }); }});
  row.refusals = {{"no such dimension", [] { unbind(f32({2, 3}), 2); }, {"2"}}};
  return row;
}

}  // namespace

std::vector<Row> view_rows() {
  return {reshape_row(), permute_row(), transpose_row(), expand_row(),
          slice_row(),   select_row(),  unbind_row()};
}

}  // namespace tessera::ops_test
