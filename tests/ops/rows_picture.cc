// Rows of the ops on pictures: convolution and its transpose, pooling, interpolation.
#include <algorithm>
#include <cmath>

#include "autograd/functions.h"
#include "tests/ops/table.h"

namespace tessera::ops_test {
namespace {

struct Conv {
  Shape x, w;
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  bool bias = true;
};

Array convolved(const Arrays& in, const Conv& c) {
  const Array &x = in[0], &w = in[1];
  const int64_t kh = w.shape[2], kw = w.shape[3], per_group = w.shape[0] / c.groups;
  const int64_t oh = (x.shape[2] + 2 * c.padding - c.dilation * (kh - 1) - 1) / c.stride + 1;
  const int64_t ow = (x.shape[3] + 2 * c.padding - c.dilation * (kw - 1) - 1) / c.stride + 1;
  return build({x.shape[0], w.shape[0], oh, ow}, [&](const Dims& i) {
    double total = c.bias ? in[2]({i[1]}) : 0;
    each_index({w.shape[1], kh, kw}, [&](const Dims& k) {
      const int64_t channel = i[1] / per_group * w.shape[1] + k[0];
      const int64_t y = i[2] * c.stride - c.padding + k[1] * c.dilation;
      const int64_t z = i[3] * c.stride - c.padding + k[2] * c.dilation;
      if (y < 0 || y >= x.shape[2] || z < 0 || z >= x.shape[3]) return;
      total += x({i[0], channel, y, z}) * w({i[1], k[0], k[1], k[2]});
    });
    return total;
  });
}

Row conv2d_row() {
  Row row{"conv2d", {}, {}};
  const Conv cases[] = {{{2, 2, 4, 4}, {3, 2, 3, 3}, 1, 1},
                        {{1, 3, 4, 6}, {2, 3, 2, 2}, 2},
                        {{1, 4, 5, 4}, {4, 2, 3, 3}, 2, 1, 1, 2},
                        {{1, 2, 5, 5}, {2, 2, 3, 3}, 1, 2, 2},
                        {{1, 3, 3, 3}, {2, 3, 1, 1}, 1, 0, 1, 1, false},
                        {{0, 2, 4, 4}, {3, 2, 2, 2}},
                        {{1, 2, 3, 5}, {2, 1, 2, 3}, 1, 1, 1, 2}};
  for (const Conv& c : cases) {
    Case test{.label = fmt::format("{} by {} stride {} padding {} dilation {} groups {}", c.x, c.w,
                                   c.stride, c.padding, c.dilation, c.groups),
              .inputs = {normal(c.x), normal(c.w)},
              .call =
                  [c](const Tensors& in) {
                    return conv2d(in[0], in[1], c.bias ? in[2] : Tensor(), c.stride, c.padding,
                                  c.dilation, c.groups);
                  },
              .reference = [c](const Arrays& in) { return convolved(in, c); },
              .roundings = 2};
    if (c.bias) test.inputs.push_back(normal({c.w[0]}));
    row.cases.push_back(test);
  }
  const auto call = [](const Shape& x, const Shape& w, int64_t stride, int64_t groups) {
    return [=] { conv2d(f32(x), f32(w), {}, stride, 0, 1, groups); };
  };
  row.refusals = {
      {"other channels", call({2, 3, 8, 8}, {8, 4, 3, 3}, 1, 1), {"(2, 3, 8, 8)", "(8, 4, 3, 3)"}},
      {"a kernel that does not fit",
       call({1, 3, 2, 2}, {4, 3, 3, 3}, 1, 1),
       {"(1, 3, 2, 2)", "(4, 3, 3, 3)"}},
      {"groups that do not divide", call({1, 3, 8, 8}, {4, 1, 3, 3}, 1, 2), {"2", "(1, 3, 8, 8)"}},
      {"stride 0", call({1, 3, 8, 8}, {4, 3, 3, 3}, 0, 1), {"stride", "0"}},
      {"the bias",
       [] {
         conv2d(f32({1, 3, 8, 8}), f32({4, 3, 3, 3}), f32({3}));
       },
       {"(3,)"}},
      {"three dimensions", call({3, 8, 8}, {4, 3, 3, 3}, 1, 1), {"(3, 8, 8)"}},
      {"two dtypes",
       [] {
         conv2d(f32({1, 3, 8, 8}), f64({4, 3, 3, 3}));
       },
       {"f32", "f64"}},
  };
  return row;
}

Row conv_transpose2d_row() {
  Row row{"conv_transpose2d", {}, {}};
  struct Args {
    Shape x, w;
    int64_t stride, padding, output_padding;
    bool bias;
  };
  const Args cases[] = {{{2, 2, 3, 3}, {2, 2, 4, 4}, 2, 1, 0, true},
                        {{1, 3, 3, 2}, {3, 2, 3, 3}, 2, 1, 1, true},
                        {{1, 2, 2, 2}, {2, 3, 2, 2}, 1, 0, 0, false},
                        {{0, 2, 2, 2}, {2, 3, 2, 2}, 2, 0, 0, true}};
  for (const Args& a : cases) {
    const auto size = [a](int64_t n, int64_t k) {
      return (n - 1) * a.stride - 2 * a.padding + k + a.output_padding;
    };
    Case c{.label = fmt::format("{} by {} stride {} padding {} {}", a.x, a.w, a.stride, a.padding,
                                a.output_padding),
           .inputs = {normal(a.x), normal(a.w)},
           .call =
               [a](const Tensors& in) {
                 return conv_transpose2d(in[0], in[1], a.bias ? in[2] : Tensor(), a.stride,
                                         a.padding, a.output_padding);
               },
           .reference =
               [a, size](const Arrays& in) {
                 Array out({a.x[0], a.w[1], size(a.x[2], a.w[2]), size(a.x[3], a.w[3])});
                 each_index(out.shape, [&](const Dims& i) { out(i) = a.bias ? in[2]({i[1]}) : 0; });
                 each_index(a.x, [&](const Dims& i) {
                   each_index({a.w[1], a.w[2], a.w[3]}, [&](const Dims& k) {
                     const int64_t y = i[2] * a.stride - a.padding + k[1];
                     const int64_t x = i[3] * a.stride - a.padding + k[2];
                     if (y < 0 || y >= out.shape[2] || x < 0 || x >= out.shape[3]) return;
                     out({i[0], k[0], y, x}) += in[0](i) * in[1]({i[1], k[0], k[1], k[2]});
                   });
                 });
                 return out;
               },
           .roundings = 2};
    if (a.bias) c.inputs.push_back(normal({a.w[1]}));
    row.cases.push_back(c);
  }
  row.refusals = {
      {"other channels",
       [] {
         conv_transpose2d(f32({1, 3, 4, 4}), f32({2, 5, 2, 2}));
       },
       {"(1, 3, 4, 4)", "(2, 5, 2, 2)"}},
      {"output padding as large as the stride",
       [] {
         conv_transpose2d(f32({1, 2, 4, 4}), f32({2, 5, 2, 2}), {}, 2, 0, 2);
       },
       {"2"}},
      {"two dtypes",
       [] {
         conv_transpose2d(f32({1, 2, 4, 4}), f64({2, 5, 2, 2}));
       },
       {"f32", "f64"}},
  };
  return row;
}

// combine(elements) over the window rows [y0, y1) and columns [x0, x1) of each output.
template <class Window, class Combine>
Array pooled(const Array& x, int64_t oh, int64_t ow, Window window, Combine combine) {
  return build({x.shape[0], x.shape[1], oh, ow}, [&](const Dims& i) {
    const auto [y0, y1] = window(i[2], x.shape[2], oh);
    const auto [x0, x1] = window(i[3], x.shape[3], ow);
    std::vector<double> group;
    for (int64_t y = std::max<int64_t>(y0, 0); y < std::min(y1, x.shape[2]); ++y) {
      for (int64_t z = std::max<int64_t>(x0, 0); z < std::min(x1, x.shape[3]); ++z) {
        group.push_back(x({i[0], i[1], y, z}));
      }
    }
    return combine(group);
  });
}

double total(const std::vector<double>& v) {
  double t = 0;
  for (double e : v) t += e;
  return t;
}

std::vector<Row> pooling_rows() {
  Row average{"avg_pool2d", {}, {}}, largest{"max_pool2d", {}, {}};
  struct Args {
    Shape shape;
    int64_t kernel, stride, padding;
  };
  for (const Args& a : {Args{{2, 3, 5, 6}, 3, 2, 1},
                        {{1, 2, 4, 4}, 2, 2, 0},
                        {{1, 1, 5, 5}, 3, 1, 0},
                        {{0, 2, 4, 4}, 2, 2, 0},
                        {{1, 1, 7, 3}, 2, 3, 0}}) {
    const auto sized = [a](int64_t n) { return (n + 2 * a.padding - a.kernel) / a.stride + 1; };
    const auto window = [a](int64_t o, int64_t, int64_t) {
      const int64_t from = o * a.stride - a.padding;
      return std::pair{from, from + a.kernel};
    };
    average.cases.push_back(
        {.label = fmt::format("{} kernel {} stride {} padding {}", a.shape, a.kernel, a.stride,
                              a.padding),
         .inputs = {normal(a.shape)},
         .call =
             [a](const Tensors& in) { return avg_pool2d(in[0], a.kernel, a.stride, a.padding); },
         .reference =
             [=](const Arrays& in) {
               return pooled(in[0], sized(a.shape[2]), sized(a.shape[3]), window,
                             [&](const auto& v) { return total(v) / double(a.kernel * a.kernel); });
             },
         .roundings = 4});
    if (a.padding > 0) continue;
    largest.cases.push_back(
        {.label = fmt::format("{} kernel {} stride {}", a.shape, a.kernel, a.stride),
         .inputs = {distinct(a.shape)},
         .call = [a](const Tensors& in) { return max_pool2d(in[0], a.kernel, a.stride); },
         .reference =
             [=](const Arrays& in) {
               return pooled(in[0], sized(a.shape[2]), sized(a.shape[3]), window,
                             [](const auto& v) { return *std::max_element(v.begin(), v.end()); });
             },
         .expandable = false});
  }
  average.refusals = {{"a kernel that does not fit",
                       [] {
                         avg_pool2d(f32({1, 1, 2, 2}), 3, 1);
                       },
                       {"(1, 1, 2, 2)", "3"}},
                      {"stride 0",
                       [] {
                         avg_pool2d(f32({1, 1, 4, 4}), 2, 0);
                       },
                       {"0"}}};
  largest.refusals = {{"a kernel that does not fit",
                       [] {
                         max_pool2d(f32({1, 1, 2, 2}), 3, 1);
                       },
                       {"(1, 1, 2, 2)", "3"}},
                      {"stride 0",
                       [] {
                         max_pool2d(f32({1, 1, 4, 4}), 2, 0);
                       },
                       {"0"}}};

  Row adaptive{"adaptive_avg_pool2d", {}, {}};
  for (const auto& [shape, oh, ow] : {std::tuple{Shape{2, 2, 7, 8}, 3, 3},
                                      {Shape{1, 2, 4, 5}, 1, 1},
                                      {Shape{1, 1, 3, 2}, 5, 2},
                                      {Shape{0, 1, 4, 4}, 2, 2}}) {
    adaptive.cases.push_back(
        {.label = fmt::format("{} to {} x {}", shape, oh, ow),
         .inputs = {normal(shape)},
         .call = [=](const Tensors& in) { return adaptive_avg_pool2d(in[0], oh, ow); },
         .reference =
             [=](const Arrays& in) {
               return pooled(
                   in[0], oh, ow,
                   [](int64_t o, int64_t n, int64_t out) {
                     return std::pair{o * n / out, ((o + 1) * n + out - 1) / out};
                   },
                   [](const auto& v) { return total(v) / double(v.size()); });
             },
         .roundings = 4});
  }
  adaptive.refusals = {{"size 0",
                        [] {
                          adaptive_avg_pool2d(f32({1, 1, 4, 4}), 0, 2);
                        },
                        {"0"}},
                       {"three dimensions",
                        [] {
                          adaptive_avg_pool2d(f32({1, 4, 4}), 2, 2);
                        },
                        {"(1, 4, 4)"}}};
  return {average, largest, adaptive};
}

double cubic(double t, double a) {
  t = std::fabs(t);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

// The weight of input j in output o of one axis, as torch.nn.functional.interpolate defines it.
double axis_weight(int64_t o, int64_t j, int64_t in, int64_t out, InterpolateMode mode, bool align,
                   bool antialias) {
  const double scale =
      align ? (out > 1 ? double(in - 1) / double(out - 1) : 0) : double(in) / double(out);
  if (mode == InterpolateMode::kNearest) {
    return j ==
           std::min(static_cast<int64_t>(std::floor(double(o) * double(in) / double(out))), in - 1);
  }
  const bool linear = mode == InterpolateMode::kBilinear;
  if (antialias) {
    const double widen = std::max(scale, 1.0), support = (linear ? 1 : 2) * widen;
    const double centre = scale * (double(o) + 0.5);
    const int64_t from = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const int64_t to = std::min(in, static_cast<int64_t>(centre + support + 0.5));
    const auto weight = [&](int64_t k) {
      const double t = (double(k) - centre + 0.5) / widen;
      return linear ? std::max(0.0, 1 - std::fabs(t)) : cubic(t, -0.5);
    };
    double all = 0;
    for (int64_t k = from; k < to; ++k) all += weight(k);
    return j >= from && j < to ? weight(j) / all : 0;
  }
  double at = align ? scale * double(o) : scale * (double(o) + 0.5) - 0.5;
  if (linear) at = std::max(at, 0.0);
  const int64_t base = static_cast<int64_t>(std::floor(at));
  double weight = 0;  // neighbours outside the picture repeat its edge
  for (int64_t k = linear ? 0 : -1; k <= (linear ? 1 : 2); ++k) {
    if (std::clamp<int64_t>(base + k, 0, in - 1) != j) continue;
    const double t = at - double(base + k);
    weight += linear ? 1 - std::fabs(t) : cubic(t, -0.75);
  }
  return weight;
}

Row interpolate_row() {
  Row row{"interpolate", {}, {}};
  struct Args {
    Shape shape;
    int64_t height, width;
    InterpolateMode mode;
    bool align = false, antialias = false;
  };
  using enum InterpolateMode;
  const Args cases[] = {{{1, 2, 4, 5}, 6, 7, kBilinear},
                        {{1, 2, 4, 5}, 3, 3, kBilinear},
                        {{1, 2, 4, 5}, 6, 7, kBilinear, true},
                        {{1, 2, 4, 5}, 3, 1, kBilinear, true},
                        {{1, 2, 4, 5}, 6, 7, kBicubic},
                        {{2, 1, 4, 5}, 3, 3, kBicubic},
                        {{1, 2, 4, 5}, 6, 7, kNearest},
                        {{1, 2, 4, 5}, 3, 3, kNearest},
                        {{1, 1, 7, 8}, 3, 4, kBilinear, false, true},
                        {{1, 1, 7, 8}, 3, 4, kBicubic, false, true},
                        {{1, 1, 3, 4}, 5, 6, kBicubic, false, true},
                        {{1, 1, 5, 5}, 5, 5, kBicubic},
                        {{0, 2, 4, 4}, 2, 2, kBilinear}};
  for (const Args& a : cases) {
    row.cases.push_back(
        {.label = fmt::format("{} to {} x {} mode {}{}{}", a.shape, a.height, a.width,
                              static_cast<int>(a.mode), a.align ? " aligned" : "",
                              a.antialias ? " antialiased" : ""),
         .inputs = {normal(a.shape)},
         .call =
             [a](const Tensors& in) {
               return interpolate(in[0], a.height, a.width, a.mode, a.align, a.antialias);
             },
         .reference =
             [a](const Arrays& in) {
               const Shape out{a.shape[0], a.shape[1], a.height, a.width};
               return build(out, [&](const Dims& i) {
                 double sum = 0;
                 each_index({a.shape[2], a.shape[3]}, [&](const Dims& s) {
                   sum +=
                       axis_weight(i[2], s[0], a.shape[2], a.height, a.mode, a.align, a.antialias) *
                       axis_weight(i[3], s[1], a.shape[3], a.width, a.mode, a.align, a.antialias) *
                       in[0]({i[0], i[1], s[0], s[1]});
                 });
                 return sum;
               });
             },
         .roundings = 5});
  }
  row.refusals = {{"size 0",
                   [] {
                     interpolate(f32({1, 1, 4, 4}), 0, 2, kBilinear);
                   },
                   {"0"}},
                  {"three dimensions",
                   [] {
                     interpolate(f32({1, 4, 4}), 2, 2, kBilinear);
                   },
                   {"(1, 4, 4)"}},
                  {"an empty picture",
                   [] {
                     interpolate(f32({1, 1, 0, 4}), 2, 2, kBilinear);
                   },
                   {"(1, 1, 0, 4)"}}};
  return row;
}

}  // namespace

std::vector<Row> picture_rows() {
  std::vector<Row> rows = pooling_rows();
  rows.push_back(conv2d_row());
  rows.push_back(conv_transpose2d_row());
  rows.push_back(interpolate_row());
  return rows;
}

}  // namespace tessera::ops_test
