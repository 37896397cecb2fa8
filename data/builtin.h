// The built-in pictures: an endless, seeded set of drawn scenes (data/scene/), ten classes.
// Rule: picture i is a pure function of (seed, stream, i) and the size; the two streams, for
// training and for evaluation, share no picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace tessera {

enum class PictureStream { kTraining, kHeldOut };

inline constexpr int64_t kBuiltinEpoch = 50'000;  // pictures an epoch of the endless set

struct LabelledPicture {
  Image image;    // RGB
  Image classes;  // (height, width, 1): for each pixel an index into builtin_pixel_classes()
  int64_t label = 0;
};

class BuiltinDataset : public Dataset {
 public:
  // count: pictures an epoch; endless: see Dataset::endless().
  BuiltinDataset(int64_t count, bool endless, PictureStream stream, int height, int width,
                 uint64_t seed = 0);

  int64_t size() const override { return count_; }
  bool endless() const override { return endless_; }
  const std::vector<std::string>& class_names() const override;
  int64_t label(int64_t i) const override;
  std::string name(int64_t i) const override;   // "builtin:17"
  std::string version(int64_t) const override;  // "32x32, seed 0"
  Image picture(int64_t i) const override;
  LabelledPicture labelled_picture(int64_t i) const;

 private:
  int64_t count_;
  bool endless_;
  PictureStream stream_;
  int height_, width_;
  uint64_t seed_;
};

// The ten kinds of things, then ground, wall, sky and hills.
const std::vector<std::string>& builtin_pixel_classes();

}  // namespace tessera
