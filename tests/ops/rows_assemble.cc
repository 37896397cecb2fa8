// Rows of the ops that put elements elsewhere and change none: flip, roll, joins, margins, patches.
#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

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

std::vector<Row> assemble_rows() {
  return {flip_row(),  roll_row(),         cat_row(),        stack_row(),
          pad2d_row(), patches_row(false), patches_row(true)};
}

}  // namespace tessera::ops_test
