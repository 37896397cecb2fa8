// Squared differences between predictions and the patches of pictures that they should be, read
// where they stand in the pictures; a group of threads a patch.
// Rule: a patch is normalised by the sums that mean() and var() would make of a row; its loss is
// such a sum.
// Bytes an element, pictures f32 and predictions bf16: 8 with the gradient's difference, 6 without,
// and 4 for the gradient; cutting out all patches, choosing some, casting, subtracting, squaring,
// summing and the way back move 71, and normalising 44 more.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr double kEps = 1e-6;  // of the variance, as the official code has it

// Patches of pictures (B, C, H, W), elements by row, column, channel.
struct Patches {
  const void* imgs;
  DType dtype;
  const int64_t* ids;
  int64_t tokens, channels, height, width, patch;
  Divider by_channels, by_patch;

  explicit Patches(const PatchLossArgs& args)
      : imgs(args.imgs.data),
        dtype(args.imgs.dtype),
        ids(args.ids.as<const int64_t>()),
        tokens(args.pred.shape[1]),
        channels(args.imgs.shape[1]),
        height(args.imgs.shape[2]),
        width(args.imgs.shape[3]),
        patch(args.patch),
        by_channels(static_cast<uint32_t>(channels)),
        by_patch(static_cast<uint32_t>(patch)) {}

  // Elements i .. i + kRun - 1 of the patch that row `row` of pred stands for; behind its end
  // `fill`.
  template <class C>
  __device__ Run<C> read(int64_t row, int64_t i, int64_t n, C fill) const {
    const int64_t b = row / tokens, id = ids[row], across = width / patch;
    const int64_t y0 = id / across * patch, x0 = id % across * patch;
    Run<C> out;
    for (int k = 0; k < kRun; ++k) {
      const auto e = static_cast<uint32_t>(i + k);
      const uint32_t pixel = by_channels.divide(e);
      const uint32_t r = by_patch.divide(pixel);
      const int64_t c = e - pixel * by_channels.divisor, column = pixel - r * by_patch.divisor;
      const int64_t at = ((b * channels + c) * height + y0 + r) * width + x0 + column;
      out.at[k] = i + k < n ? load_element<C>(imgs, dtype, at) : fill;
    }
    return out;
  }
};

template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    patch_loss_rows(Rows pred, Patches patches, bool normalise, Rows diff, Vector losses,
                    int64_t rows) {
  const Group<kWidth> group;
  if (group.row >= rows) return;
  const int64_t n = pred.n;
  C mean = 0, deviation = 1;
  if (normalise) {
    C sum = 0, squares = 0;
    group.for_each_run(n, [&](int64_t i) {
      for (const C e : patches.read(group.row, i, n, C(0)).at) sum += e;
    });
    mean = group.sum(sum) * static_cast<C>(1.0 / static_cast<double>(n));
    group.for_each_run(n, [&](int64_t i) {
      for (const C e : patches.read(group.row, i, n, mean).at) squares += (e - mean) * (e - mean);
    });
    const C variance = group.sum(squares) * static_cast<C>(1.0 / static_cast<double>(n - 1));
    deviation = sqrt_of(variance + static_cast<C>(kEps));
  }
  C loss = 0;
  group.for_each_run(n, [&](int64_t i) {
    Run<C> d = read_run<C>(pred, group.row, i);
    const Run<C> wanted = patches.read(group.row, i, n, mean);
    for (int k = 0; k < kRun; ++k) {
      d.at[k] = d.at[k] - (normalise ? (wanted.at[k] - mean) / deviation : wanted.at[k]);
      if (i + k < n) loss += d.at[k] * d.at[k];
    }
    if (diff.data != nullptr) write_run(diff, group.row, i, d);
  });
  loss = group.sum(loss);
  if (group.thread == 0) write_element(losses, group.row, loss);
}

}  // namespace

void patch_loss(const PatchLossArgs& args) {
  const int64_t n = args.pred.shape[2], rows = args.pred.shape[0] * args.pred.shape[1];
  visit_floating(args.pred.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({rows, n}, patch_loss_rows<C, kRowBlock>, patch_loss_rows<C, kWarp>,
                Rows(args.pred, n), Patches(args), args.normalise, Rows(args.diff, n),
                Vector(args.losses));
  });
}

}  // namespace tessera::cuda
