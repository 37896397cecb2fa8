// Fits pictures to a size and hands them out as floats.
// Rule: no draws, no normalisation.
#include "data/evaluation.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "data/fit.h"
#include "engine/error.h"

namespace tessera {
namespace {

std::vector<float> repeated(float value, int count) {
  return std::vector<float>(static_cast<size_t>(std::max(count, 0)), value);
}

}  // namespace

Image fit_picture(const Image& image, int height, int width, int channels) {
  if (image.channels != channels) {
    return fit_picture(grayscale(image, channels), height, width, channels);
  }
  return fitted(image, fit_of_whole(image.height, image.width, height, width), height, width);
}

EvaluationReader::EvaluationReader(std::shared_ptr<const Dataset> dataset, int height, int width,
                                   int channels)
    : dataset_(std::move(dataset)),
      height_(height),
      width_(width),
      channels_(channels),
      to_unit_(repeated(0, channels), repeated(1, channels)) {
  TESSERA_CHECK_USAGE(height > 0 && width > 0 && (channels == 1 || channels == 3),
                      "[data] pictures of {} x {} with {} channels; wanted 1 or 3 channels", width,
                      height, channels);
}

void EvaluationReader::read(int64_t i, float* out) const {
  TESSERA_CHECK(i >= 0 && (i < size() || dataset_->endless()),
                "[data] there is no picture {} of {}", i, size());
  to_unit_(fit_picture(dataset_->picture(i), height_, width_, channels_), out);
}

Tensor EvaluationReader::picture(int64_t i) const {
  Tensor out = Tensor::empty({channels_, height_, width_});
  read(i, out.data<float>());
  return out;
}

Tensor EvaluationReader::pictures(int64_t first, int64_t count) const {
  Tensor out = Tensor::empty({count, channels_, height_, width_});  // (B, C, H, W)
  const int64_t step = int64_t{channels_} * height_ * width_;
  for (int64_t i = 0; i < count; ++i) read(first + i, out.data<float>() + i * step);
  return out;
}

}  // namespace tessera
