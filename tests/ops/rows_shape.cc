// Rows of the ops that move elements and change none.
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

Row flip_row() {
  Row row{"flip", {}, {}};
  for (const auto& [shape, dim] :
       {std::pair{Shape{2, 5}, 1}, {Shape{3, 2, 2}, 0}, {Shape{2, 0}, -1}}) {
    row.cases.push_back({.label = to_string(shape) + " dim " + std::to_string(dim),
                         .inputs = {normal(shape)},
                         .call = [dim](const Tensors& in) { return flip(in[0], dim); },
                         .reference =
                             [dim](const Arrays& in) {
                               const int d = dim < 0 ? dim + in[0].ndim() : dim;
                               return build(in[0].shape, [&](const Dims& i) {
                                 return in[0](with(i, d, in[0].shape[d] - 1 - i[d]));
                               });
                             }});
  }
  row.refusals = {{"no such dimension", [] { flip(f32({2, 3}), 2); }, {"2"}}};
  return row;
}

Row roll_row() {
  Row row{"roll", {}, {}};
  for (const auto& [shift, dim] : {std::pair{2, 1}, {-1, 1}, {0, 0}, {7, -1}, {-12, 1}}) {
    row.cases.push_back(
        {.label = std::to_string(shift) + " in " + std::to_string(dim),
         .inputs = {normal({2, 5})},
         .call = [shift, dim](const Tensors& in) { return roll(in[0], shift, dim); },
         .reference =
             [shift, dim](const Arrays& in) {
               const int d = (dim + 2) % 2;
               const int64_t n = in[0].shape[d];
               return build(in[0].shape, [&](const Dims& i) {
                 return in[0](with(i, d, (((i[d] - shift) % n) + n) % n));
               });
             }});
  }
  row.cases.push_back({.label = "an empty tensor",
                       .inputs = {normal({2, 0})},
                       .call = [](const Tensors& in) { return roll(in[0], 3, 1); },
                       .reference = [](const Arrays& in) { return in[0]; }});
  row.refusals = {{"no such dimension", [] { roll(f32({2, 3}), 1, 2); }, {"2"}}};
  return row;
}

Array concatenated(const Arrays& parts, int dim) {
  Shape shape = parts[0].shape;
  shape[dim] = 0;
  for (const Array& p : parts) shape[dim] += p.shape[dim];
  return build(shape, [&](const Dims& i) {
    int64_t at = i[dim];
    size_t part = 0;
    while (at >= parts[part].shape[dim]) at -= parts[part++].shape[dim];
    return parts[part](with(i, dim, at));
  });
}

Row cat_row() {
  Row row{"cat", {}, {}};
  const std::pair<std::vector<Shape>, int> cases[] = {
      {{{2, 3}, {2, 2}}, 1}, {{{1, 3}, {2, 3}, {1, 3}}, 0}, {{{2, 0}, {2, 2}}, -1}, {{{4}}, 0}};
  for (const auto& [shapes, dim] : cases) {
    Case c{.label = fmt::format("{} parts in {}", shapes.size(), dim),
           .inputs = {},
           .call = [dim](const Tensors& in) { return cat(in, dim); },
           .reference =
               [dim](const Arrays& in) {
                 return concatenated(in, dim < 0 ? dim + in[0].ndim() : dim);
               }};
    for (const Shape& s : shapes) c.inputs.push_back(normal(s));
    row.cases.push_back(c);
  }
  row.refusals = {
      {"other sizes",
       [] {
         cat({f32({2, 3}), f32({3, 3})}, 1);
       },
       {"(2, 3)", "(3, 3)"}},
      {"two dtypes",
       [] {
         cat({f32({2}), f64({2})}, 0);
       },
       {"f32", "f64"}},
      {"nothing", [] { cat({}, 0); }, {}},
      {"no such dimension", [] { cat({f32({2})}, 1); }, {"1"}},
  };
  return row;
}

Row stack_row() {
  Row row{"stack", {}, {}};
  for (const int dim : {0, 1, -1}) {
    row.cases.push_back({.label = "in " + std::to_string(dim),
                         .inputs = {normal({2, 3}), normal({2, 3})},
                         .call = [dim](const Tensors& in) { return stack(in, dim); },
                         .reference =
                             [dim](const Arrays& in) {
                               const int d = dim < 0 ? dim + 3 : dim;
                               Shape shape = in[0].shape;
                               shape.insert(d, 2);
                               return build(shape, [&](const Dims& i) {
                                 return in[static_cast<size_t>(i[d])](without(i, d));
                               });
                             }});
  }
  row.refusals = {
      {"other shapes",
       [] {
         stack({f32({2, 3}), f32({2, 4})}, 0);
       },
       {"(2, 3)", "(2, 4)"}},
      {"no such dimension", [] { stack({f32({2})}, 3); }, {"3"}},
      {"nothing", [] { stack({}, 0); }, {}},
  };
  return row;
}

Row pad2d_row() {
  Row row{"pad2d", {}, {}};
  struct Args {
    Shape shape;
    int64_t left, right, top, bottom;
    double value;
  };
  const Args cases[] = {{{1, 2, 3, 4}, 1, 2, 0, 1, 0},
                        {{3, 2}, 0, 1, 2, 0, -1.5},
                        {{2, 2, 2}, 0, 0, 0, 0, 1},
                        {{0, 2, 2}, 1, 1, 1, 1, 0}};
  for (const Args& a : cases) {
    row.cases.push_back(
        {.label = fmt::format("{} by {} {} {} {}", a.shape, a.left, a.right, a.top, a.bottom),
         .inputs = {normal(a.shape)},
         .call =
             [a](const Tensors& in) {
               return pad2d(in[0], a.left, a.right, a.top, a.bottom, a.value);
             },
         .reference =
             [a](const Arrays& in) {
               const int h = a.shape.size() - 2, w = h + 1;
               const int64_t height = a.shape[h], width = a.shape[w];
               Shape shape = with(a.shape, h, height + a.top + a.bottom);
               shape = with(shape, w, width + a.left + a.right);
               return build(shape, [&](const Dims& i) {
                 const int64_t y = i[h] - a.top, x = i[w] - a.left;
                 const bool inside = y >= 0 && y < height && x >= 0 && x < width;
                 return inside ? in[0](with(with(i, h, y), w, x)) : a.value;
               });
             }});
  }
  row.refusals = {{"a negative margin",
                   [] {
                     pad2d(f32({3, 3}), -1, 0, 0, 0);
                   },
                   {"-1"}},
                  {"one dimension", [] { pad2d(f32({3}), 1, 1, 1, 1); }, {"(3,)"}}};
  return row;
}

Row patches_row(bool fold) {
  Row row{fold ? "fold_patches" : "unfold_patches", {}, {}};
  struct Args {
    int64_t batch, channels, height, width, patch;
  };
  for (const Args& a : {Args{2, 3, 8, 8, 4}, {1, 1, 4, 6, 2}, {0, 3, 4, 4, 2}, {2, 4, 3, 6, 3}}) {
    const Shape picture{a.batch, a.channels, a.height, a.width};
    const int64_t across = a.width / a.patch;
    const Shape patches{a.batch, a.height / a.patch * across, a.patch * a.patch * a.channels};
    // (b, l, [row][column][channel]) <-> (b, channel, y, x)
    const auto in_patches = [a, across](const Dims& i) {
      return Dims{i[0], i[2] / a.patch * across + i[3] / a.patch,
                  (i[2] % a.patch * a.patch + i[3] % a.patch) * a.channels + i[1]};
    };
    const auto in_picture = [a, across](const Dims& i) {
      const int64_t pixel = i[2] / a.channels;
      return Dims{i[0], i[2] % a.channels, i[1] / across * a.patch + pixel / a.patch,
                  i[1] % across * a.patch + pixel % a.patch};
    };
    row.cases.push_back(
        {.label = fmt::format("{} patch {}", picture, a.patch),
         .inputs = {normal(fold ? patches : picture)},
         .call =
             [=](const Tensors& in) {
               return fold ? fold_patches(in[0], a.patch, a.height, a.width)
                           : unfold_patches(in[0], a.patch);
             },
         .reference =
             [=](const Arrays& in) {
               return fold ? build(picture, [&](const Dims& i) { return in[0](in_patches(i)); })
                           : build(patches, [&](const Dims& i) { return in[0](in_picture(i)); });
             }});
  }
  if (fold) {
    row.refusals = {{"another count of patches",
                     [] {
                       fold_patches(f32({1, 5, 12}), 2, 4, 4);
                     },
                     {"(1, 5, 12)"}},
                    {"a length that is no patch",
                     [] {
                       fold_patches(f32({1, 4, 13}), 2, 4, 4);
                     },
                     {"(1, 4, 13)"}},
                    {"two dimensions",
                     [] {
                       fold_patches(f32({4, 12}), 2, 4, 4);
                     },
                     {"(4, 12)"}}};
  } else {
    row.refusals = {{"a height that is no multiple",
                     [] {
                       unfold_patches(f32({1, 3, 9, 8}), 4);
                     },
                     {"(1, 3, 9, 8)", "4"}},
                    {"patch 0",
                     [] {
                       unfold_patches(f32({1, 3, 8, 8}), 0);
                     },
                     {"0"}},
                    {"three dimensions",
                     [] {
                       unfold_patches(f32({3, 8, 8}), 4);
                     },
                     {"(3, 8, 8)"}}};
  }
  return row;
}

}  // namespace

std::vector<Row> shape_rows() {
  return {reshape_row(), permute_row(), transpose_row(),    expand_row(),     slice_row(),
          select_row(),  unbind_row(),  flip_row(),         roll_row(),       cat_row(),
          stack_row(),   pad2d_row(),   patches_row(false), patches_row(true)};
}

}  // namespace tessera::ops_test
