// What a device wants of a picture to make its views by itself: pixels and plans
// (engine/picture_plan.h) in place of finished numbers.
// Rule: the same bytes as from the host's Augmenter. A picture that would take more room or more
// taps than the device has is resampled here, and its plan says so.
#pragma once

#include <cstdint>
#include <vector>

#include "data/augmenter.h"
#include "engine/dtype.h"

namespace tessera {

class PictureStager {
 public:
  // RandAugment and erasing change a view in ways that no plan tells.
  static bool takes(const AugmentOptions& options) {
    return !options.rand_augment && !options.erasing;
  }
  explicit PictureStager(const AugmentOptions& options) : options_(options) {}

  int64_t pixel_room() const;  // bytes for one picture
  int64_t plan_room() const;   // int32 for one plan
  int64_t second_plan_room() const;

  // picture: as Augmenter::recolored() leaves it; second_plan: nullptr without a second view.
  void stage(const Image& picture, const Cut& cut, uint8_t* pixels, int32_t* plan,
             int32_t* second_plan) const;

 private:
  AugmentOptions options_;
};

}  // namespace tessera
