// Pictures of 8 bits to the planes of a batch: resampled, mirrored, moved, each level looked up.
// Rule: whole numbers up to the look-up (engine/picture_plan.h), so the numbers are the host's to
// the bit. A block makes kPictureTile rows by kColumns columns of one picture: first the rows of
// pixels that these need, resampled to its columns, in shared memory; then each thread its element.
#include "cuda/group.cuh"
#include "cuda/kernels.h"
#include "engine/picture_plan.h"

namespace tessera::cuda {
namespace {

constexpr int kColumns = kRowBlock / kPictureTile;

struct Batch {
  const uint8_t* pixels;  // (B, pixel_room)
  const int32_t* plans;   // (B, plan_room)
  const float* levels;    // (C, 257)
  float* out;             // (B, C, height, width)
  int64_t pixel_room, plan_room, height, width;
};

// Where the plan's tables begin.
struct Tables {
  const int32_t *first_row, *first_column, *row_weights, *column_weights;

  __device__ Tables(const int32_t* plan, const PicturePlan& head, int64_t height, int64_t width)
      : first_row(plan + PicturePlan::kHead),
        first_column(first_row + height),
        row_weights(first_column + width),
        column_weights(row_weights + head.row_taps * height) {}
};

template <int kChannels>
__global__ void __launch_bounds__(kRowBlock) make_planes(Batch batch) {
  const Shared<uint8_t> seen = shared_array<uint8_t, kMostPictureRows * kColumns * kChannels>();
  const int64_t height = batch.height, width = batch.width;
  const int64_t down = (height + kPictureTile - 1) / kPictureTile;
  const int64_t across = (width + kColumns - 1) / kColumns;
  const int64_t picture = blockIdx.x / across / down;
  const int64_t y0 = blockIdx.x / across % down * kPictureTile;
  const int64_t x0 = blockIdx.x % across * kColumns;
  const int32_t* const plan = batch.plans + picture * batch.plan_room;
  const PicturePlan head = *reinterpret_cast<const PicturePlan*>(plan);
  const Tables tables(plan, head, height, width);
  const uint8_t* const pixels = batch.pixels + picture * batch.pixel_room + head.offset;

  const int line = static_cast<int>(threadIdx.x) / kColumns;
  const int own = static_cast<int>(threadIdx.x) % kColumns;
  const int64_t x = x0 + own, y = y0 + line;
  // Which of the resampled rows and columns come here; those outside of the picture move in.
  const int64_t row = y - head.dy;
  const int64_t column = head.mirrored ? width - 1 - (x - head.dx) : x - head.dx;
  const int64_t top = y0 - head.dy < 0 ? 0 : y0 - head.dy;
  const int64_t bottom =
      y0 + kPictureTile - head.dy < height ? y0 + kPictureTile - head.dy : height;
  const bool has_column = x < width && column >= 0 && column < width;

  int64_t first = 0, last = 0;  // rows of pixels
  if (top < bottom) {
    first = tables.first_row[top];
    const int64_t end = tables.first_row[bottom - 1] + head.row_taps;
    last = end < head.height ? end : head.height;
  }
  for (int64_t p = first + line; p < last; p += kPictureTile) {
    if (!has_column) continue;
    const int64_t begin = tables.first_column[column];
    const int64_t taps =
        begin + head.column_taps < head.width ? head.column_taps : head.width - begin;
    const uint8_t* from = pixels + (p * head.width + begin) * kChannels;
    int32_t sums[kChannels];
    for (int32_t& sum : sums) sum = kPictureHalf;
    for (int64_t t = 0; t < taps; ++t) {
      const int32_t weight = tables.column_weights[t * width + column];
      for (int c = 0; c < kChannels; ++c) sums[c] += weight * from[t * kChannels + c];
    }
    for (int c = 0; c < kChannels; ++c) {
      seen[((p - first) * kColumns + own) * kChannels + c] = picture_level(sums[c]);
    }
  }
  __syncthreads();

  if (x >= width || y >= height) return;
  const bool inside = has_column && row >= 0 && row < height;
  int32_t sums[kChannels];
  for (int32_t& sum : sums) sum = kPictureHalf;
  if (inside) {
    const int64_t begin = tables.first_row[row];
    const int64_t taps = begin + head.row_taps < head.height ? head.row_taps : head.height - begin;
    for (int64_t t = 0; t < taps; ++t) {
      const int32_t weight = tables.row_weights[t * height + row];
      for (int c = 0; c < kChannels; ++c) {
        sums[c] += weight * seen[((begin - first + t) * kColumns + own) * kChannels + c];
      }
    }
  }
  constexpr int kLevels = 257;
  for (int c = 0; c < kChannels; ++c) {
    const int level = inside ? picture_level(sums[c]) : kLevels - 1;
    batch.out[((picture * kChannels + c) * height + y) * width + x] =
        batch.levels[c * kLevels + level];
  }
}

}  // namespace

void pictures(const PictureArgs& args) {
  const Batch batch{args.pixels.as<const uint8_t>(),
                    args.plans.as<const int32_t>(),
                    args.levels.as<const float>(),
                    args.out.as<float>(),
                    args.pixels.shape[1],
                    args.plans.shape[1],
                    args.out.shape[2],
                    args.out.shape[3]};
  const int64_t tiles = ceil_div(batch.height, kPictureTile) * ceil_div(batch.width, kColumns);
  launch(args.out.shape[1] == 1 ? make_planes<1> : make_planes<3>, args.out.shape[0] * tiles,
         kRowBlock, 0, stream(), batch);
}

}  // namespace tessera::cuda
