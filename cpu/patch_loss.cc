// Squared differences between predictions and the patches of pictures that they should be, read
// where they stand in the pictures.
// Rule: a patch is normalised by the very sums that mean() and var() would make; its loss is one
// sum in lanes.
// Bytes an element in f32: 12 with the gradient's difference, 8 without, and 8 for the gradient;
// cutting out all patches, choosing some, subtracting, squaring, summing and the way back move 59,
// and normalising 44 more.
#include <cmath>

#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

enum Slot { kPatch, kPrediction, kDifference, kLine, kSquares };

constexpr double kEps = 1e-6;  // of the variance, as the official code has it

// Patch `id` of picture b, row, column, channel.
template <class C>
void read_patch(const PatchLossArgs& args, int64_t b, int64_t id, C* out) {
  const View& imgs = args.imgs;
  const int64_t channels = imgs.shape[1], height = imgs.shape[2], width = imgs.shape[3];
  const int64_t p = args.patch, y0 = id / (width / p) * p, x0 = id % (width / p) * p;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t r = 0; r < p; ++r) {
      const int64_t at = ((b * channels + c) * height + y0 + r) * width + x0;
      const C* line = read_at<C>(imgs, at, p, kLine);
      for (int64_t i = 0; i < p; ++i) out[(r * p + i) * channels + c] = line[i];
    }
  }
}

template <class C>
C sum_as_reduce(C* x, int64_t n) {
  C sum;
  reduce(ReduceOp::kSum, {x, DTypeOf<C>::value, 3, {1, n, 1}, {n, 1, 1}},
         {&sum, DTypeOf<C>::value, 2, {1, 1}, {1, 1}});
  return sum;
}

template <class C>
void normalise(C* x, int64_t n) {
  const Lane<C> mean(double(sum_as_reduce(x, n) * static_cast<C>(1.0 / double(n))));
  C* squares = thread_scratch<C>(kSquares, n);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> d = load_lane(x + i, count) - mean;
    store_lane(d, x + i, count);
    store_lane(d * d, squares + i, count);
  });
  const C variance = sum_as_reduce(squares, n) * static_cast<C>(1.0 / double(n - 1));
  const Lane<C> deviation = sqrt(Lane<C>(double(variance)) + Lane<C>(kEps));
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(x + i, count) / deviation, x + i, count);
  });
}

}  // namespace

void patch_loss(const PatchLossArgs& args) {
  const int64_t tokens = args.pred.shape[1], rows = args.pred.shape[0] * tokens;
  const int64_t n = args.pred.shape[2];
  const auto* ids = args.ids.as<const int64_t>();
  visit_floating(args.pred.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_rows(rows, n, [&](int64_t row) {
      C* patch = thread_scratch<C>(kPatch, n);
      read_patch(args, row / tokens, ids[row], patch);
      if (args.normalise) normalise(patch, n);
      const C* pred = read_row<C>(args.pred, row, n, kPrediction);
      const bool wanted = args.diff.data != nullptr;
      C* diff = wanted ? start_row<C>(args.diff, row, n, kDifference) : nullptr;
      Lane<C> sum(0.0);
      for_each_lane<C>(n, [&](int64_t i, int64_t count) {
        const Lane<C> d = load_lane(pred + i, count) - load_lane(patch + i, count);
        sum = sum + d * d;
        if (wanted) store_lane(d, diff + i, count);
      });
      if (wanted) finish_row(diff, args.diff, row, n);
      write_element(args.losses, row, horizontal_sum(sum));
    });
  });
}

}  // namespace tessera::cpu
