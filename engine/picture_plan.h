// How a picture of 8 bits becomes the planes of a batch: which pixels each output is summed of,
// with which weights, and where it goes. data/ writes plans, a device's kernel follows them. Rule:
// whole numbers alone, as in data/resize.h: two passes in fixed point, each rounded and clipped to
// 8 bits. So every device gives the host's bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera {

inline constexpr int kPictureBits = 32 - 8 - 2;  // of a weight's fraction: 8 of a pixel, 2 to spare
inline constexpr int kPictureTile = 8;           // output rows that are made together ...
inline constexpr int kMostPictureRows = 64;      // ... from at most so many rows of pixels
inline constexpr int kMostPictureTaps = 24;      // pixels that an output is summed of, each way

// A plan is this head, and behind it, all int32: the first pixel row of each output row (H), the
// first pixel of each output column (W), the weights of the rows (row_taps, H), those of the
// columns (column_taps, W). No tap that weighs anything leaves the picture.
struct PicturePlan {
  int32_t height = 0, width = 0;  // of the pixels
  int32_t row_taps = 0, column_taps = 0;
  int32_t mirrored = 0;
  int32_t dy = 0, dx = 0;  // then moved down and right; what moves in is the last of the levels
  int32_t offset = 0;      // of the pixels' first byte from the start of the picture's room

  static constexpr int64_t kHead = 8;  // int32 in the head
  // int32 of a plan with the most taps, for (height, width) of output.
  static constexpr int64_t room(int64_t height, int64_t width) {
    return kHead + (height + width) * (1 + kMostPictureTaps);
  }
};
static_assert(sizeof(PicturePlan) == PicturePlan::kHead * sizeof(int32_t));

// A weighted sum that began at kPictureHalf, as a level.
inline constexpr int32_t kPictureHalf = 1 << (kPictureBits - 1);
constexpr uint8_t picture_level(int32_t sum) {
  const int32_t level = sum >> kPictureBits;
  return static_cast<uint8_t>(level < 0 ? 0 : level > 255 ? 255 : level);
}

}  // namespace tessera
