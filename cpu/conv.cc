// Convolution as unfold and product, one image at a time.
// Rule: a task owns what it writes (rows of y, channels of dx, columns of dw) and walks the images
// in order, so nothing is summed across tasks.
// The products' names are those of engine/conv_geometry.h.
#include "cpu/kernels.h"
#include "cpu/multiply.h"
#include "cpu/rows.h"
#include "engine/conv_geometry.h"

namespace tessera::cpu {
namespace {

enum Slot { kColumns, kWeights, kOutput, kPlane };

constexpr int64_t kScratchElements = 1 << 18;  // 1 MiB of f32: columns stay in L2

// Calls visit(row, column, count, in) for each run of output positions in rows [y0, y1) that tap
// (ki, kj) sees inside the picture: positions (row, column ...) read in, in + stride, ...
template <class Visit>
void for_each_run(const ConvGeometry& g, int64_t ki, int64_t kj, int64_t y0, int64_t y1,
                  Visit visit) {
  const int64_t shift = kj * g.dilation - g.padding;  // x = column * stride + shift
  const int64_t first = shift >= 0 ? 0 : ceil_div(-shift, g.stride);
  const int64_t last =
      shift >= g.width ? 0 : std::min(g.out_width, ceil_div(g.width - shift, g.stride));
  if (first >= last) return;
  for (int64_t row = y0; row < y1; ++row) {
    const int64_t y = row * g.stride + ki * g.dilation - g.padding;
    if (y < 0 || y >= g.height) continue;
    visit(row, first, last - first, y * g.width + first * g.stride + shift);
  }
}

// Rows [r0, r1) of the columns at output rows [y0, y1), tightly, from a group's planes in x.
template <class C>
void unfold(const ConvGeometry& g, const void* x, DType dtype, int64_t r0, int64_t r1, int64_t y0,
            int64_t y1, C* columns) {
  const int64_t size = static_cast<int64_t>(size_of(dtype));
  const int64_t length = (y1 - y0) * g.out_width;
  for (int64_t r = r0; r < r1; ++r) {
    C* out = columns + (r - r0) * length;
    std::fill_n(out, length, C(0));
    const char* plane = static_cast<const char*>(x) + r / g.taps() * g.plane() * size;
    for_each_run(g, r % g.taps() / g.kernel_width, r % g.kernel_width, y0, y1,
                 [&](int64_t row, int64_t column, int64_t count, int64_t in) {
                   gather_elements(plane + in * size, dtype, g.stride, count,
                                   out + (row - y0) * g.out_width + column);
                 });
  }
}

// The transpose of unfold: adds the columns of whole channels to dx's planes.
template <class C>
void fold(const ConvGeometry& g, const C* columns, int64_t channels, int64_t y0, int64_t y1,
          C* dx) {
  const int64_t length = (y1 - y0) * g.out_width;
  for (int64_t r = 0; r < channels * g.taps(); ++r) {
    const C* from = columns + r * length;
    C* plane = dx + r / g.taps() * g.plane();
    for_each_run(g, r % g.taps() / g.kernel_width, r % g.kernel_width, y0, y1,
                 [&](int64_t row, int64_t column, int64_t count, int64_t in) {
                   const C* line = from + (row - y0) * g.out_width + column;
                   for (int64_t i = 0; i < count; ++i) plane[in + i * g.stride] += line[i];
                 });
  }
}

// Output rows of one product, so that its columns fit in kScratchElements.
int64_t rows_at_once(const ConvGeometry& g, int64_t depth) {
  return std::clamp<int64_t>(kScratchElements / std::max<int64_t>(1, depth * g.out_width), 1,
                             std::max<int64_t>(1, g.out_height));
}

}  // namespace

void conv2d(const ConvArgs& args) {
  if (args.y.numel() == 0) return;
  const ConvGeometry g(args);
  const int64_t rows = rows_at_once(g, g.depth()), pieces = ceil_div(g.out_height, rows);
  visit_floating(args.x.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_tasks(g.images * g.groups * pieces, [&](int64_t task) {
      const int64_t image = task / pieces / g.groups, group = task / pieces % g.groups;
      const int64_t y0 = task % pieces * rows, y1 = std::min(g.out_height, y0 + rows);
      const int64_t length = (y1 - y0) * g.out_width;
      C* columns = thread_scratch<C>(kColumns, g.depth() * length);
      unfold(g, address(args.x, g.x_offset(image, group)), args.x.dtype, 0, g.depth(), y0, y1,
             columns);
      const C* w = read_at<C>(args.w, g.w_offset(group), g.filters * g.depth(), kWeights);
      const int64_t to = g.y_offset(image, group) + y0 * g.out_width;
      const bool direct = args.y.dtype == DTypeOf<C>::value;
      C* out = direct ? args.y.as<C>() + to : thread_scratch<C>(kOutput, g.filters * length);
      multiply(g.filters, length, g.depth(), {w, g.depth(), 1}, {columns, length, 1}, false, out,
               direct ? g.positions() : length);
      if (direct) return;
      for (int64_t o = 0; o < g.filters; ++o) {
        write_at(out + o * length, args.y, to + o * g.positions(), length);
      }
    });
  });
}

void conv2d_dx(const ConvArgs& args) {
  if (args.x.numel() == 0) return;
  const ConvGeometry g(args);
  // A task is some channels of one image: at least 64 rows of columns, so that the product is worth
  // its packing, and no more than gives an image four tasks.
  const int64_t channels = std::min(
      g.channels, std::max(ceil_div(64, std::max<int64_t>(1, g.taps())), ceil_div(g.channels, 4)));
  const int64_t pieces = ceil_div(g.channels, channels);
  visit_floating(args.x.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_tasks(g.images * g.groups * pieces, [&](int64_t task) {
      const int64_t image = task / pieces / g.groups, group = task / pieces % g.groups;
      const int64_t c0 = task % pieces * channels, c1 = std::min(g.channels, c0 + channels);
      const int64_t depth = (c1 - c0) * g.taps(), rows = rows_at_once(g, depth);
      const int64_t to = g.x_offset(image, group) + c0 * g.plane();
      const int64_t size = (c1 - c0) * g.plane();
      const bool direct = args.x.dtype == DTypeOf<C>::value;
      C* dx = direct ? args.x.as<C>() + to : thread_scratch<C>(kPlane, size);
      std::fill_n(dx, size, C(0));
      const C* w = read_at<C>(args.w, g.w_offset(group), g.filters * g.depth(), kWeights);
      const C* dy =
          read_at<C>(args.y, g.y_offset(image, group), g.filters * g.positions(), kOutput);
      for (int64_t y0 = 0; y0 < g.out_height; y0 += rows) {
        const int64_t y1 = std::min(g.out_height, y0 + rows), length = (y1 - y0) * g.out_width;
        C* columns = thread_scratch<C>(kColumns, depth * length);
        const Matrix<C> filters{w + c0 * g.taps(), g.depth(), 1};
        multiply(depth, length, g.filters, filters.transposed(),
                 {dy + y0 * g.out_width, g.positions(), 1}, false, columns, length);
        fold(g, columns, c1 - c0, y0, y1, dx);
      }
      if (!direct) write_at(dx, args.x, to, size);
    });
  });
}

void conv2d_dw(const ConvArgs& args) {
  if (args.w.numel() == 0) return;
  const ConvGeometry g(args);
  // A task is some columns of one group's dw: at least 48, and no more than gives eight tasks.
  const int64_t width = std::min(g.depth(), std::max<int64_t>(48, ceil_div(g.depth(), 8)));
  const int64_t pieces = ceil_div(g.depth(), width);
  visit_floating(args.x.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_tasks(g.groups * pieces, [&](int64_t task) {
      const int64_t group = task / pieces, r0 = task % pieces * width;
      const int64_t r1 = std::min(g.depth(), r0 + width), depth = r1 - r0;
      const int64_t rows = rows_at_once(g, depth), to = g.w_offset(group) + r0;
      const bool direct = args.w.dtype == DTypeOf<C>::value;
      C* dw = direct ? args.w.as<C>() + to : thread_scratch<C>(kWeights, g.filters * depth);
      const int64_t stride = direct ? g.depth() : depth;
      for (int64_t o = 0; o < g.filters; ++o) std::fill_n(dw + o * stride, depth, C(0));
      for (int64_t image = 0; image < g.images; ++image) {
        const C* dy =
            read_at<C>(args.y, g.y_offset(image, group), g.filters * g.positions(), kOutput);
        const void* x = address(args.x, g.x_offset(image, group));
        for (int64_t y0 = 0; y0 < g.out_height; y0 += rows) {
          const int64_t y1 = std::min(g.out_height, y0 + rows), length = (y1 - y0) * g.out_width;
          C* columns = thread_scratch<C>(kColumns, depth * length);
          unfold(g, x, args.x.dtype, r0, r1, y0, y1, columns);
          const Matrix<C> seen{columns, length, 1};
          multiply(g.filters, depth, length, {dy + y0 * g.out_width, g.positions(), 1},
                   seen.transposed(), true, dw, stride);
        }
      }
      if (direct) return;
      for (int64_t o = 0; o < g.filters; ++o) {
        write_at(dw + o * depth, args.w, to + o * g.depth(), depth);
      }
    });
  });
}

}  // namespace tessera::cpu
