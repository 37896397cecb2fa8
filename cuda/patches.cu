// Patches of pictures as vectors, read where they stand: the rows that a patch embedding
// multiplies. A thread makes a run of a vector. Bytes an element, pictures f32 and vectors bf16: 6;
// cutting out all patches, choosing a quarter of them and casting move 46 for each that was chosen.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

struct Pictures {
  Vector imgs;         // (B C H W,)
  const int64_t* ids;  // nullptr: all in turn
  int64_t tokens, channels, height, width, patch;
  Divider by_patch, by_area;  // p, p p
  bool whole_runs;            // a run lies within a row of the patch, 16 bytes at a time

  explicit Pictures(const PatchesArgs& args)
      : imgs(View{args.imgs.data, args.imgs.dtype, 1, {args.imgs.numel()}, {1}}),
        ids(args.ids.as<const int64_t>()),
        tokens(args.y.shape[1]),
        channels(args.imgs.shape[1]),
        height(args.imgs.shape[2]),
        width(args.imgs.shape[3]),
        patch(args.patch),
        by_patch(static_cast<uint32_t>(patch)),
        by_area(static_cast<uint32_t>(patch * patch)),
        whole_runs(imgs.aligned && patch % kRun == 0) {}

  // Where element e of the vector `row` stands.
  __device__ int64_t place(int64_t row, uint32_t e) const {
    const int64_t b = row / tokens, id = ids == nullptr ? row % tokens : ids[row];
    const int64_t across = width / patch, y0 = id / across * patch, x0 = id % across * patch;
    const uint32_t c = by_area.divide(e), in_plane = e - c * by_area.divisor;
    const uint32_t r = by_patch.divide(in_plane), column = in_plane - r * by_patch.divisor;
    return ((b * channels + c) * height + y0 + r) * width + x0 + column;
  }
};

template <class C>
__global__ void __launch_bounds__(kRowBlock)
    patch_runs(Pictures from, Rows y, int64_t runs, int64_t count) {
  const int64_t index = int64_t{blockIdx.x} * kRowBlock + threadIdx.x;
  if (index >= count) return;
  const int64_t row = index / runs, i = index % runs * kRun;
  Run<C> v;
  if (from.whole_runs) {
    const int64_t at = from.place(row, static_cast<uint32_t>(i));
    v = read_run<C>(Rows(from.imgs.data, from.imgs.dtype, 0, true), 0, at);
  } else {
    for (int k = 0; k < kRun; ++k) {
      if (i + k >= y.n) continue;
      v.at[k] = read_element<C>(from.imgs, from.place(row, static_cast<uint32_t>(i + k)));
    }
  }
  write_run(y, row, i, v);
}

}  // namespace

void patches(const PatchesArgs& args) {
  const int64_t n = args.y.shape[2], runs = ceil_div(n, kRun);
  const int64_t count = args.y.shape[0] * args.y.shape[1] * runs;
  visit_floating(args.y.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch(patch_runs<C>, ceil_div(count, kRowBlock), kRowBlock, 0, stream(), Pictures(args),
           Rows(args.y, n), runs, count);
  });
}

}  // namespace tessera::cuda
