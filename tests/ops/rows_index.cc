// Rows of the ops that read or write by index or mask.
#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

int64_t whole(double v) { return static_cast<int64_t>(v); }

struct Along {
  Shape x;
  int dim;
  Shape index;
  int d() const { return dim < 0 ? dim + x.size() : dim; }
};

Row gather_row() {
  Row row{"gather", {}, {}};
  for (const Along& a : {Along{{3, 4}, 1, {3, 2}},
                         {{3, 4}, 0, {2, 4}},
                         {{2, 3, 2}, -2, {2, 5, 2}},
                         {{5}, 0, {3}},
                         {{3, 4}, 1, {3, 0}},
                         {{0, 4}, 1, {0, 2}}}) {
    row.cases.push_back({.label = fmt::format("{} in {} by {}", a.x, a.dim, a.index),
                         .inputs = {normal(a.x), index_below(a.index, a.x[a.d()])},
                         .call = [a](const Tensors& in) { return gather(in[0], a.dim, in[1]); },
                         .reference =
                             [a](const Arrays& in) {
                               return build(a.index, [&](const Dims& i) {
                                 return in[0](with(i, a.d(), whole(in[1](i))));
                               });
                             }});
  }
  row.refusals = {{"an index beyond the end",
                   [] {
                     gather(f32({2, 3}), 1, i64({2, 1}, 3));
                   },
                   {"(2, 3)"}},
                  {"a negative index",
                   [] {
                     gather(f32({2, 3}), 1, i64({2, 1}, -1));
                   },
                   {"(2, 3)"}},
                  {"an index that is no i64",
                   [] {
                     gather(f32({2, 3}), 1, f32({2, 1}));
                   },
                   {"f32", "i64"}},
                  {"another shape",
                   [] {
                     gather(f32({2, 3}), 1, i64({3, 1}));
                   },
                   {"(2, 3)", "(3, 1)"}},
                  {"other dimensions",
                   [] {
                     gather(f32({2, 3}), 1, i64({2}));
                   },
                   {"(2, 3)", "(2,)"}}};
  return row;
}

Row scatter_add_row() {
  Row row{"scatter_add", {}, {}};
  for (const Along& a : {Along{{3, 4}, 1, {3, 2}},
                         {{2, 4}, 0, {5, 4}},
                         {{2, 3, 2}, -2, {2, 4, 2}},
                         {{3}, 0, {6}},
                         {{3, 4}, 1, {3, 0}}}) {
    row.cases.push_back(
        {.label = fmt::format("{} in {} by {}", a.x, a.dim, a.index),
         .inputs = {normal(a.x), index_below(a.index, a.x[a.d()]), normal(a.index)},
         .call = [a](const Tensors& in) { return scatter_add(in[0], a.dim, in[1], in[2]); },
         .reference =
             [a](const Arrays& in) {
               Array out = in[0];
               each_index(a.index,
                          [&](const Dims& i) { out(with(i, a.d(), whole(in[1](i)))) += in[2](i); });
               return out;
             },
         .roundings = 4});
  }
  row.refusals = {{"an index beyond the end",
                   [] {
                     scatter_add(f32({2, 3}), 1, i64({2, 1}, 3), f32({2, 1}));
                   },
                   {"(2, 3)"}},
                  {"another shape",
                   [] {
                     scatter_add(f32({2, 3}), 1, i64({2, 2}), f32({2, 1}));
                   },
                   {"(2, 2)", "(2, 1)"}},
                  {"an index that is no i64",
                   [] {
                     scatter_add(f32({2, 3}), 1, f32({2, 1}), f32({2, 1}));
                   },
                   {"f32", "i64"}},
                  {"two dtypes",
                   [] {
                     scatter_add(f32({2, 3}), 1, i64({2, 1}), f64({2, 1}));
                   },
                   {"f32", "f64"}}};
  return row;
}

Row index_select_row() {
  Row row{"index_select", {}, {}};
  for (const Along& a :
       {Along{{3, 4, 2}, 1, {3}}, {{4}, 0, {6}}, {{2, 5}, -1, {0}}, {{3, 2}, 0, {2}}}) {
    row.cases.push_back(
        {.label = fmt::format("{} in {} by {}", a.x, a.dim, a.index),
         .inputs = {normal(a.x), index_below(a.index, a.x[a.d()])},
         .call = [a](const Tensors& in) { return index_select(in[0], a.dim, in[1]); },
         .reference =
             [a](const Arrays& in) {
               return build(with(a.x, a.d(), a.index[0]), [&](const Dims& i) {
                 return in[0](with(i, a.d(), whole(in[1]({i[a.d()]}))));
               });
             }});
  }
  row.refusals = {{"an index beyond the end",
                   [] {
                     index_select(f32({2, 3}), 1, i64({2}, 3));
                   },
                   {"(2, 3)"}},
                  {"an index of two dimensions",
                   [] {
                     index_select(f32({2, 3}), 1, i64({2, 1}));
                   },
                   {"(2, 1)"}},
                  {"an index that is no i64",
                   [] {
                     index_select(f32({2, 3}), 1, f32({2}));
                   },
                   {"f32", "i64"}}};
  return row;
}

Row patch_vectors_row() {
  Row row{"patch_vectors", {}, {}};
  struct Args {
    Shape imgs;
    int64_t patch, listed;  // 0: all in turn
  };
  for (const Args& a : {Args{{2, 3, 4, 6}, 2, 5},
                        {{2, 3, 4, 6}, 2, 0},
                        {{1, 1, 3, 6}, 3, 1},
                        {{3, 2, 2, 3}, 1, 4},
                        {{2, 2, 16, 8}, 8, 3},
                        {{0, 3, 4, 4}, 2, 2}}) {
    const int64_t p = a.patch, across = a.imgs[3] / p, patches = a.imgs[2] / p * across;
    row.cases.push_back(
        {.label =
             fmt::format("patches of {} in {}, {}", p, a.imgs, a.listed > 0 ? "chosen" : "in turn"),
         .inputs = {constant(normal(a.imgs)), index_below({a.imgs[0], a.listed}, patches)},
         .call =
             [a](const Tensors& in) {
               return patch_vectors(in[0], a.patch, a.listed > 0 ? in[1] : Tensor());
             },
         .reference =
             [=](const Arrays& in) {
               const int64_t tokens = a.listed > 0 ? a.listed : patches;
               return build({a.imgs[0], tokens, a.imgs[1] * p * p}, [&](const Dims& i) {
                 const int64_t id = a.listed > 0 ? whole(in[1]({i[0], i[1]})) : i[1];
                 const int64_t channel = i[2] / (p * p), r = i[2] / p % p, column = i[2] % p;
                 return in[0]({i[0], channel, id / across * p + r, id % across * p + column});
               });
             }});
  }
  const Shape imgs = {2, 3, 4, 6};
  row.refusals = {
      {"a patch beyond the last",
       [=] {
         patch_vectors(f32(imgs), 2, i64({2, 4}, 6));
       },
       {"6"}},
      {"ids of another batch",
       [=] {
         patch_vectors(f32(imgs), 2, i64({1, 4}));
       },
       {"(1, 4)"}},
      {"ids that are no i64",
       [=] {
         patch_vectors(f32(imgs), 2, f32({2, 4}));
       },
       {"f32"}},
      {"pictures that do not divide", [=] { patch_vectors(f32(imgs), 3); }, {"3 pixels"}},
      {"integer pictures", [=] { patch_vectors(i64(imgs), 2); }, {"i64"}}};
  return row;
}

Row place_tokens_row() {
  Row row{"place_tokens", {}, {}};
  struct Args {
    Shape x;
    int64_t tokens;  // 0: the extra row first, then all of x
    int64_t positions;
    bool placed;
  };
  for (const Args& a : {Args{{2, 3, 4}, 0, 6, true},
                        {{2, 3, 4}, 5, 5, false},
                        {{2, 3, 9}, 7, 4, true},
                        {{3, 2, 2}, 0, 3, false},
                        {{1, 1, 1}, 2, 2, false},
                        {{0, 3, 4}, 5, 5, false}}) {
    const int64_t tokens = a.tokens > 0 ? a.tokens : a.x[1] + 1, d = a.x[2];
    const Shape listed = {a.x[0], tokens};
    Case c{.label = fmt::format("{}, {}, {}", a.x, a.tokens > 0 ? "chosen" : "in turn",
                                a.placed ? "placed" : "in place"),
           .inputs = {normal(a.x), normal({d}), normal({a.positions, d}),
                      index_below(listed, a.x[1] + 1), index_below(listed, a.positions)},
           .call =
               [a](const Tensors& in) {
                 return place_tokens(in[0], in[1], a.tokens > 0 ? in[3] : Tensor(), in[2],
                                     a.placed ? in[4] : Tensor());
               },
           .reference =
               [=](const Arrays& in) {
                 return build({a.x[0], tokens, d}, [&](const Dims& i) {
                   const int64_t rows = a.x[1];
                   const int64_t source =
                       a.tokens > 0 ? whole(in[3]({i[0], i[1]})) : (i[1] == 0 ? rows : i[1] - 1);
                   const int64_t place = a.placed ? whole(in[4]({i[0], i[1]})) : i[1];
                   return (source == rows ? in[1]({i[2]}) : in[0]({i[0], source, i[2]})) +
                          in[2]({place, i[2]});
                 });
               },
           .roundings = 4};
    row.cases.push_back(c);
  }
  row.refusals = {{"a source beyond the row behind x",
                   [] {
                     place_tokens(f32({2, 3, 4}), f32({4}), i64({2, 5}, 4), f32({5, 4}), {});
                   },
                   {"(2, 3, 4)"}},
                  {"a place beyond the positions",
                   [] {
                     place_tokens(f32({2, 3, 4}), f32({4}), {}, f32({5, 4}), i64({2, 4}, 5));
                   },
                   {"(5, 4)"}},
                  {"too few positions",
                   [] {
                     place_tokens(f32({2, 3, 4}), f32({4}), {}, f32({3, 4}), {});
                   },
                   {"4", "3"}},
                  {"an extra row of another width",
                   [] {
                     place_tokens(f32({2, 3, 4}), f32({3}), {}, f32({4, 4}), {});
                   },
                   {"(3,)"}},
                  {"a source of another batch",
                   [] {
                     place_tokens(f32({2, 3, 4}), f32({4}), i64({1, 4}), f32({4, 4}), {});
                   },
                   {"(1, 4)"}},
                  {"two dtypes",
                   [] {
                     place_tokens(f32({2, 3, 4}), f64({4}), {}, f32({4, 4}), {});
                   },
                   {"f32", "f64"}}};
  return row;
}

Row embedding_row() {
  Row row{"embedding", {}, {}};
  for (const auto& [weight, index] : {std::pair{Shape{6, 4}, Shape{2, 3}},
                                      {Shape{3, 2}, Shape{}},
                                      {Shape{5, 3}, Shape{9}},
                                      {Shape{5, 3}, Shape{0, 2}}}) {
    row.cases.push_back({.label = fmt::format("{} by {}", weight, index),
                         .inputs = {normal(weight), index_below(index, weight[0])},
                         .call = [](const Tensors& in) { return embedding(in[0], in[1]); },
                         .reference =
                             [](const Arrays& in) {
                               Shape shape = in[1].shape;
                               const int last = shape.size();
                               shape.push_back(in[0].shape[1]);
                               return build(shape, [&](const Dims& i) {
                                 return in[0]({whole(in[1](without(i, last))), i[last]});
                               });
                             }});
  }
  row.refusals = {{"a token beyond the table",
                   [] {
                     embedding(f32({6, 4}), i64({2}, 6));
                   },
                   {"(6, 4)"}},
                  {"tokens that are no i64",
                   [] {
                     embedding(f32({6, 4}), f32({2}));
                   },
                   {"f32", "i64"}},
                  {"a table of one dimension", [] { embedding(f32({6}), i64({2})); }, {"(6,)"}}};
  return row;
}

Row take_rows_row() {
  Row row{"take_rows", {}, {}};
  for (const auto& [x, ids] : {std::pair{Shape{2, 5, 3}, Shape{2, 3}},
                               {Shape{1, 2, 4}, Shape{1, 5}},
                               {Shape{2, 3, 2}, Shape{2, 0}},
                               {Shape{0, 3, 2}, Shape{0, 2}}}) {
    row.cases.push_back({.label = fmt::format("{} by {}", x, ids),
                         .inputs = {normal(x), index_below(ids, x[1])},
                         .call = [](const Tensors& in) { return take_rows(in[0], in[1]); },
                         .reference =
                             [](const Arrays& in) {
                               return build(
                                   with(in[0].shape, 1, in[1].shape[1]), [&](const Dims& i) {
                                     return in[0]({i[0], whole(in[1]({i[0], i[1]})), i[2]});
                                   });
                             }});
  }
  row.refusals = {{"an id beyond the rows",
                   [] {
                     take_rows(f32({2, 5, 3}), i64({2, 1}, 5));
                   },
                   {"(2, 5, 3)"}},
                  {"another batch",
                   [] {
                     take_rows(f32({2, 5, 3}), i64({3, 1}));
                   },
                   {"(2, 5, 3)", "(3, 1)"}},
                  {"ids that are no i64",
                   [] {
                     take_rows(f32({2, 5, 3}), f32({2, 1}));
                   },
                   {"f32", "i64"}}};
  return row;
}

Row masked_select_rows_row() {
  Row row{"masked_select_rows", {}, {}};
  for (const auto& [x, mask] : {std::pair{Shape{2, 4, 3}, Shape{2, 4}},
                                {Shape{9, 2}, Shape{9}},
                                {Shape{0, 2}, Shape{0}},
                                {Shape{2, 2, 2, 1}, Shape{2, 2, 2}}}) {
    row.cases.push_back({.label = fmt::format("{} by {}", x, mask),
                         .inputs = {normal(x), booleans(mask)},
                         .call = [](const Tensors& in) { return masked_select_rows(in[0], in[1]); },
                         .reference =
                             [](const Arrays& in) {
                               std::vector<Dims> rows;
                               each_index(in[1].shape, [&](const Dims& i) {
                                 if (in[1](i) != 0) rows.push_back(i);
                               });
                               return build({static_cast<int64_t>(rows.size()), in[0].extent(-1)},
                                            [&](const Dims& i) {
                                              Dims at = rows[static_cast<size_t>(i[0])];
                                              at.push_back(i[1]);
                                              return in[0](at);
                                            });
                             }});
  }
  row.refusals = {{"a mask of another shape",
                   [] {
                     masked_select_rows(f32({2, 4, 3}), boolean({2, 3}));
                   },
                   {"(2, 4, 3)", "(2, 3)"}},
                  {"a mask that is no bool",
                   [] {
                     masked_select_rows(f32({2, 4, 3}), f32({2, 4}));
                   },
                   {"f32", "bool"}}};
  return row;
}

}  // namespace

std::vector<Row> index_rows() {
  return {gather_row(),        scatter_add_row(),  index_select_row(), embedding_row(),
          patch_vectors_row(), place_tokens_row(), take_rows_row(),    masked_select_rows_row()};
}

}  // namespace tessera::ops_test
