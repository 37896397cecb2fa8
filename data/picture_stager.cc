// Weights along both axes, cut to the view, and the pixels that they belong to.
#include "data/picture_stager.h"

#include <algorithm>
#include <cstring>

#include "data/resize_weights.h"
#include "data/transforms.h"
#include "engine/picture_plan.h"

namespace tessera {
namespace {

// Room for this many times the pixels of the view: most pictures of ImageNet fit for views of 224.
constexpr int64_t kRoom = 4;

// The outputs of an axis that a view of `size` shows: its middle.
AxisWeights middle(const AxisWeights& axis, int size) {
  const int have = static_cast<int>(axis.first.size());
  const int start = center_offset(have, size);
  AxisWeights w;
  w.taps = axis.taps;
  w.first.assign(axis.first.begin() + start, axis.first.begin() + start + size);
  w.weights.assign(axis.weights.begin() + int64_t{start} * axis.taps,
                   axis.weights.begin() + int64_t{start + size} * axis.taps);
  return w;
}

bool fits_device(const AxisWeights& rows, const AxisWeights& columns) {
  if (rows.taps > kMostPictureTaps || columns.taps > kMostPictureTaps) return false;
  const size_t last = kPictureTile - 1;
  for (size_t i = 0; i < rows.first.size(); ++i) {
    const size_t end = std::min(i + last, rows.first.size() - 1);
    if (rows.first[end] + rows.taps - rows.first[i] > kMostPictureRows) return false;
  }
  return true;
}

// first, then the weights as (taps, outputs): neighbouring threads read neighbours.
int32_t* write_first(const AxisWeights& w, int32_t* to) {
  return std::copy(w.first.begin(), w.first.end(), to);
}
int32_t* write_weights(const AxisWeights& w, int32_t* to) {
  const size_t outputs = w.first.size(), taps = static_cast<size_t>(w.taps);
  for (size_t t = 0; t < taps; ++t) {
    for (size_t i = 0; i < outputs; ++i) *to++ = w.weights[i * taps + t];
  }
  return to;
}

// False: it wants more than the device has, and nothing is written.
bool write_plan(const Fit& fit, const Placement& placement, int height, int width, int64_t offset,
                int32_t* plan) {
  // A fit smaller than the view would have to be padded; there is none (fit_of_whole).
  const AxisWeights rows =
      middle(axis_weights(fit.from.height, fit.height, fit.interpolation), height);
  const AxisWeights columns =
      middle(axis_weights(fit.from.width, fit.width, fit.interpolation), width);
  if (!fits_device(rows, columns)) return false;
  PicturePlan head;
  head.height = fit.from.height;
  head.width = fit.from.width;
  head.row_taps = rows.taps;
  head.column_taps = columns.taps;
  head.mirrored = placement.mirrored ? 1 : 0;
  head.dy = placement.dy;
  head.dx = placement.dx;
  head.offset = static_cast<int32_t>(offset);
  std::memcpy(plan, &head, sizeof(head));
  int32_t* to = write_first(columns, write_first(rows, plan + PicturePlan::kHead));
  write_weights(columns, write_weights(rows, to));
  return true;
}

// Of a view that was finished on the host.
void write_finished(const Image& view, const Placement& placement, int64_t offset, uint8_t* pixels,
                    int32_t* plan) {
  const Fit same = {{0, 0, view.height, view.width}, view.height, view.width};
  write_plan(same, placement, view.height, view.width, offset, plan);
  std::memcpy(pixels + offset, view.pixels.data(), view.pixels.size());
}

}  // namespace

int64_t PictureStager::pixel_room() const {
  const AugmentOptions& o = options_;
  const int64_t both = int64_t{o.height} * o.width + int64_t{o.second_height} * o.second_width;
  return std::max(kRoom * o.height * o.width, both) * o.channels;
}
int64_t PictureStager::plan_room() const {
  return PicturePlan::room(options_.height, options_.width);
}
int64_t PictureStager::second_plan_room() const {
  return PicturePlan::room(options_.second_height, options_.second_width);
}

void PictureStager::stage(const Image& picture, const Cut& cut, uint8_t* pixels, int32_t* plan,
                          int32_t* second_plan) const {
  const AugmentOptions& o = options_;
  const Region& from = cut.fit.from;  // of both views
  const int64_t row = int64_t{from.width} * o.channels;
  if (row * from.height <= pixel_room() &&
      write_plan(cut.fit, cut.placement, o.height, o.width, 0, plan) &&
      (second_plan == nullptr || write_plan(cut.second_fit, cut.second_placement, o.second_height,
                                            o.second_width, 0, second_plan))) {
    for (int y = 0; y < from.height; ++y) {
      const uint8_t* line = picture.row(from.top + y) + int64_t{from.left} * o.channels;
      std::memcpy(pixels + y * row, line, static_cast<size_t>(row));
    }
    return;
  }
  const Image view = fitted(picture, cut.fit, o.height, o.width);
  write_finished(view, cut.placement, 0, pixels, plan);
  if (second_plan == nullptr) return;
  write_finished(fitted(picture, cut.second_fit, o.second_height, o.second_width),
                 cut.second_placement, std::ssize(view.pixels), pixels, second_plan);
}

}  // namespace tessera
