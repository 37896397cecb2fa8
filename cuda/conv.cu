// Convolution as unfold and product (engine/conv_geometry.h), some images at a time: what the
// vendor's library (vendor.h) is held against, and what takes its place where it has no answer.
// Rule: dx gathers from the columns' gradient, so that a thread owns what it writes; dw is a
// product for each image, and a sum over the images in an order fixed by the shape.
#include <algorithm>

#include "cuda/group.cuh"
#include "cuda/kernels.h"
#include "cuda/vendor.h"
#include "engine/conv_geometry.h"

namespace tessera::cuda {
namespace {

constexpr int64_t kScratchElements = int64_t{1} << 26;  // of the columns: 256 MiB of f32

// Of one image, all groups.
int64_t columns_of(const ConvGeometry& g) { return g.groups * g.depth() * g.positions(); }

// columns (images, groups, K, P) of the images from `first` on: a thread an element.
template <class T>
__global__ void __launch_bounds__(kRowBlock)
    unfold(ConvGeometry g, const T* x, T* columns, int64_t first, int64_t total) {
  const int64_t at = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (at >= total) return;
  const int64_t p = at % g.positions(), r = at / g.positions() % (g.groups * g.depth());
  const int64_t image = first + at / g.positions() / (g.groups * g.depth());
  const int64_t channel = r / g.taps(), tap = r % g.taps();  // channel of all groups
  const int64_t row = p / g.out_width * g.stride + tap / g.kernel_width * g.dilation - g.padding;
  const int64_t column = p % g.out_width * g.stride + tap % g.kernel_width * g.dilation - g.padding;
  const bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
  const int64_t plane = image * g.groups * g.channels + channel;
  columns[at] = inside ? x[(plane * g.height + row) * g.width + column] : T{};
}

// The type of sums that are rounded later.
DType wide_type(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

// dx of the images from `first` on: a thread a pixel, the taps in order.
template <class C>
__global__ void __launch_bounds__(kRowBlock)
    fold(ConvGeometry g, const void* columns, DType dtype, void* dx, DType dx_dtype, int64_t first,
         int64_t total) {
  const int64_t at = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (at >= total) return;
  const int64_t column = at % g.width, row = at / g.width % g.height;
  const int64_t plane = at / g.width / g.height;  // (image, channel of all groups)
  C sum = 0;
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    const int64_t y = row + g.padding - tap / g.kernel_width * g.dilation;
    const int64_t x = column + g.padding - tap % g.kernel_width * g.dilation;
    if (y < 0 || x < 0 || y % g.stride != 0 || x % g.stride != 0) continue;
    const int64_t i = y / g.stride, j = x / g.stride;
    if (i >= g.out_height || j >= g.out_width) continue;
    sum += load_element<C>(columns, dtype,
                           ((plane * g.taps() + tap) * g.out_height + i) * g.out_width + j);
  }
  store_element<C>(dx, dx_dtype, first * g.groups * g.channels * g.height * g.width + at, sum);
}

// (batch, rows, columns) with a contiguous matrix each.
View matrices(void* data, DType dtype, int64_t offset, int64_t batch, int64_t batch_stride,
              int64_t rows, int64_t columns) {
  return {static_cast<char*>(data) + offset * static_cast<int64_t>(size_of(dtype)),
          dtype,
          3,
          {batch, rows, columns},
          {batch_stride, columns, 1}};
}
View transposed(View v) {
  std::swap(v.shape[1], v.shape[2]);
  std::swap(v.stride[1], v.stride[2]);
  return v;
}

// How many images' columns fit the scratch.
int64_t images_at_once(const ConvGeometry& g) {
  return std::clamp<int64_t>(kScratchElements / std::max<int64_t>(1, columns_of(g)), 1,
                             std::max<int64_t>(1, g.images));
}

void unfold_images(const ConvArgs& args, const ConvGeometry& g, int64_t first, int64_t count,
                   void* columns) {
  const int64_t total = count * columns_of(g);
  const auto as = [&]<class T>(T) {
    launch(unfold<T>, ceil_div(total, kRowBlock), kRowBlock, 0, stream(), g, args.x.as<const T>(),
           static_cast<T*>(columns), first, total);
  };
  switch (size_of(args.x.dtype)) {
    case 2:
      return as(uint16_t{});
    case 4:
      return as(uint32_t{});
    default:
      return as(uint64_t{});
  }
}

// The operands of one group's products over `count` images from `first` on.
struct GroupOperands {
  View w, y, columns;  // (count, O, K), (count, O, P), (count, K, P)

  GroupOperands(const ConvArgs& args, const ConvGeometry& g, int64_t group, int64_t first,
                int64_t count, void* scratch, DType columns_dtype) {
    const int64_t o = g.filters, k = g.depth(), p = g.positions();
    w = matrices(args.w.data, args.w.dtype, group * o * k, count, 0, o, k);
    y = matrices(args.y.data, args.y.dtype, (first * g.groups + group) * o * p, count,
                 g.groups * o * p, o, p);
    columns = matrices(scratch, columns_dtype, group * k * p, count, g.groups * k * p, k, p);
  }
};

}  // namespace

void conv2d(const ConvArgs& args) {
  if (args.y.numel() == 0) return;
  const ConvGeometry g(args);
  const int64_t at_once = images_at_once(g);
  const Scratch scratch(static_cast<size_t>(at_once * columns_of(g)) * size_of(args.x.dtype));
  for (int64_t first = 0; first < g.images; first += at_once) {
    const int64_t count = std::min(at_once, g.images - first);
    unfold_images(args, g, first, count, scratch.as<void>());
    for (int64_t group = 0; group < g.groups; ++group) {
      const GroupOperands of(args, g, group, first, count, scratch.as<void>(), args.x.dtype);
      GemmArgs product;
      product.a = of.w;
      product.b = of.columns;
      product.c = of.y;
      vendor::gemm(product);
    }
  }
}

void conv2d_dx(const ConvArgs& args) {
  if (args.x.numel() == 0) return;
  const ConvGeometry g(args);
  const int64_t at_once = images_at_once(g);
  const DType wide = wide_type(args.x.dtype);
  const Scratch scratch(static_cast<size_t>(at_once * columns_of(g)) * size_of(wide));
  for (int64_t first = 0; first < g.images; first += at_once) {
    const int64_t count = std::min(at_once, g.images - first);
    for (int64_t group = 0; group < g.groups; ++group) {
      const GroupOperands of(args, g, group, first, count, scratch.as<void>(), wide);
      GemmArgs product;
      product.a = transposed(of.w);
      product.b = of.y;
      product.c = of.columns;
      vendor::gemm(product);
    }
    const int64_t total = count * g.groups * g.channels * g.height * g.width;
    visit_floating(args.x.dtype, [&](auto tag) {
      launch(fold<decltype(tag)>, ceil_div(total, kRowBlock), kRowBlock, 0, stream(), g,
             scratch.as<const void>(), wide, args.x.data, args.x.dtype, first, total);
    });
  }
}

void conv2d_dw(const ConvArgs& args) {
  if (args.w.numel() == 0) return;
  const ConvGeometry g(args);
  // Halves are summed over the images in f32 and rounded once.
  const DType wide = wide_type(args.w.dtype);
  const int64_t size = args.w.numel();
  const int64_t at_once = std::clamp<int64_t>(kScratchElements / size, 1, images_at_once(g));
  const Scratch scratch(static_cast<size_t>(at_once * columns_of(g)) * size_of(args.x.dtype));
  // The sum so far, and what each image of a round adds to it.
  const Scratch sums(static_cast<size_t>((1 + at_once) * size) * size_of(wide));
  const View total{sums.as<void>(), wide, 1, {size}, {1}};
  const Scratch next(static_cast<size_t>(size) * size_of(wide));
  fill(total, 0);
  for (int64_t first = 0; first < g.images; first += at_once) {
    const int64_t count = std::min(at_once, g.images - first);
    unfold_images(args, g, first, count, scratch.as<void>());
    for (int64_t group = 0; group < g.groups; ++group) {
      const GroupOperands of(args, g, group, first, count, scratch.as<void>(), args.x.dtype);
      GemmArgs product;
      product.a = of.y;
      product.b = transposed(of.columns);
      product.c =
          matrices(total.data, wide, size + g.w_offset(group), count, size, g.filters, g.depth());
      vendor::gemm(product);
    }
    const View sum{next.as<void>(), wide, 2, {1, size}, {size, 1}};
    reduce(ReduceOp::kSum,
           {total.data, wide, 3, {1, 1 + count, size}, {(1 + count) * size, size, 1}}, sum);
    copy({next.as<void>(), wide, 1, {size}, {1}}, total);
  }
  copy(total, {args.w.data, args.w.dtype, 1, {size}, {1}});
}

}  // namespace tessera::cuda
