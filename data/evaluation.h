// Pictures for evaluation: one after another, not augmented.
// Rule: shorter side to the target (bicubic), then the middle; a picture of the right size is taken
// as it is. Values are in [0, 1]; whoever wants them normalised does so.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/dataset.h"
#include "data/transforms.h"
#include "engine/tensor.h"

namespace tessera {

// Grey for channels = 1 (from 3), the shorter side resized, the middle cut out: (height, width).
Image fit_picture(const Image& image, int height, int width, int channels);

class EvaluationReader {
 public:
  EvaluationReader(std::shared_ptr<const Dataset> dataset, int height, int width, int channels = 3);

  int64_t size() const { return dataset_->size(); }
  int64_t pixels() const { return int64_t{height_} * width_; }  // of a picture, fitted
  int64_t label(int64_t i) const { return dataset_->label(i); }
  const std::vector<std::string>& class_names() const { return dataset_->class_names(); }
  std::string name(int64_t i) const { return dataset_->name(i); }
  // (C, H, W) f32 in [0, 1]; Error that names the picture when it cannot be decoded.
  Tensor picture(int64_t i) const;
  // (count, C, H, W) f32 in [0, 1], pictures first .. first + count - 1.
  Tensor pictures(int64_t first, int64_t count) const;

 private:
  void read(int64_t i, float* out) const;

  std::shared_ptr<const Dataset> dataset_;
  int height_, width_, channels_;
  Normalizer to_unit_;  // [0, 1]
};

}  // namespace tessera
