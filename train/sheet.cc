// A grid of pictures.
#include "train/sheet.h"

#include <algorithm>

#include "data/draw.h"
#include "engine/error.h"
#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int64_t kSide = 160;  // the longest that a picture is magnified to, pixels
constexpr int kMargin = 4;      // pixels of the sheet

}  // namespace

Image picture_sheet(const std::vector<Tensor>& columns) {
  const Shape shape = columns.at(0).shape();
  const int64_t channels = shape[1], height = shape[2], width = shape[3];
  const int scale = static_cast<int>(std::max<int64_t>(1, kSide / std::max(height, width)));
  const int cell_width = static_cast<int>(width) * scale + kMargin;
  const int cell_height = static_cast<int>(height) * scale + kMargin;
  Image sheet = blank_picture(static_cast<int>(columns.size()) * cell_width + kMargin,
                              static_cast<int>(shape[0]) * cell_height + kMargin, kWhite);
  int left = kMargin;
  for (const Tensor& column : columns) {
    TESSERA_CHECK(column.shape() == shape, "[picture_sheet] {} beside {}", describe(column), shape);
    const Tensor pictures = raw::contiguous(column);
    for (int64_t row = 0; row < shape[0]; ++row) {
      const float* values = pictures.data<float>() + row * channels * height * width;
      draw_picture(sheet, left, kMargin + static_cast<int>(row) * cell_height,
                   picture_of(values, channels, height, width), scale);
    }
    left += cell_width;
  }
  return sheet;
}

}  // namespace tessera
