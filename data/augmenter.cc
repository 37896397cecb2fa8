// The steps of one picture.
#include "data/augmenter.h"

#include <cmath>
#include <optional>

#include "data/augment.h"
#include "engine/error.h"
#include "engine/words.h"

namespace tessera {
namespace {

constexpr int kMaxShift = 2;

constexpr Word<Augment> kAugments[] = {{Augment::kNone, "none"},
                                       {Augment::kFlip, "flip"},
                                       {Augment::kCropFlip, "crop-flip"},
                                       {Augment::kShiftFlip, "shift-flip"}};

// The first view's placement in the second view's pixels.
Placement scaled(const Placement& p, const AugmentOptions& o) {
  const auto scale = [](int shift, int to, int from) {
    return static_cast<int>(std::lround(double(shift) * to / from));
  };
  return {p.mirrored, scale(p.dy, o.second_height, o.height), scale(p.dx, o.second_width, o.width)};
}

}  // namespace

Augment augment_from_name(std::string_view name) {
  return choice_for(kAugments, "--augment", name);
}
const char* name_of(Augment augment) { return word_for(kAugments, augment); }

void AugmentOptions::check() const {
  TESSERA_CHECK_USAGE(height > 0 && width > 0, "[data] image size {} x {} has no pixels", width,
                      height);
  TESSERA_CHECK_USAGE(channels == 1 || channels == 3, "[data] {} channels, wanted 1 or 3",
                      channels);
  const size_t count = static_cast<size_t>(channels);
  TESSERA_CHECK_USAGE(mean.size() == count && std.size() == count,
                      "--mean and --std need one value for each of {} channels, got {} and {}",
                      channels, mean.size(), std.size());
  for (float s : std) TESSERA_CHECK_USAGE(s > 0, "--std must be positive, got {}", s);
  TESSERA_CHECK_USAGE(crop_scale[0] > 0 && crop_scale[0] <= crop_scale[1] && crop_scale[1] <= 1,
                      "--crop-scale must be two shares of the area, smaller first, got {} {}",
                      crop_scale[0], crop_scale[1]);
  TESSERA_CHECK_USAGE(color_jitter >= 0 && color_jitter <= 1,
                      "--color-jitter must be in [0, 1], got {}", color_jitter);
  if (rand_augment) rand_augment->check();
  if (erasing) erasing->check();
  TESSERA_CHECK_USAGE(second_height >= 0 && (second_height > 0) == (second_width > 0),
                      "[data] a second view of {} x {} pixels", second_width, second_height);
  TESSERA_CHECK_USAGE(!two_views() || !rand_augment,
                      "[data] RandAugment would make the two views differ");
}

Augmenter::Augmenter(const AugmentOptions& options)
    : options_(options),
      normalize_(options.mean, options.std),
      to_unit_(std::vector<float>(options.mean.size(), 0.0f),
               std::vector<float>(options.mean.size(), 1.0f), options.mean) {
  options_.check();
}

Cut Augmenter::cut(int picture_height, int picture_width, PhiloxStream& random) const {
  const AugmentOptions& o = options_;
  Cut cut;
  if (o.augment == Augment::kCropFlip) {
    const Region box = draw_crop(picture_height, picture_width, o.crop_scale, random);
    cut.placement.mirrored = random.coin();
    cut.fit = {box, o.height, o.width, Interpolation::kBicubic};
    cut.second_fit = {box, o.second_height, o.second_width, Interpolation::kLanczos};
  } else {
    if (o.augment != Augment::kNone) cut.placement.mirrored = random.coin();
    if (o.augment == Augment::kShiftFlip) {
      const Shift shift = draw_shift(kMaxShift, random);
      cut.placement.dy = shift.dy;
      cut.placement.dx = shift.dx;
    }
    cut.fit = fit_of_whole(picture_height, picture_width, o.height, o.width);
    if (o.two_views()) {
      cut.second_fit = fit_of_whole(picture_height, picture_width, o.second_height, o.second_width);
    }
  }
  cut.second_placement = scaled(cut.placement, o);
  return cut;
}

std::optional<Image> Augmenter::recolored(const Image& picture, PhiloxStream& random) const {
  std::optional<Image> changed;
  if (picture.channels != options_.channels) changed = grayscale(picture, options_.channels);
  if (const double by = options_.color_jitter; by > 0) {
    changed = color_jitter(changed ? *changed : picture,
                           {.brightness = by, .contrast = by, .saturation = by}, random);
  }
  return changed;
}

bool Augmenter::operator()(const Image& picture, PhiloxStream& random, float* out,
                           float* second) const {
  const int height = options_.height, width = options_.width, channels = options_.channels;
  const Cut cut = this->cut(picture.height, picture.width, random);
  const std::optional<Image> changed = recolored(picture, random);
  const Image& seen = changed ? *changed : picture;
  Image view = fitted(seen, cut.fit, height, width);
  // Before it is mirrored, which makes no difference: its directions are drawn fairly.
  if (options_.rand_augment) view = tessera::rand_augment(view, *options_.rand_augment, random);
  normalize_(view, out, cut.placement);
  if (options_.erasing) {
    const Region box = draw_erasure(*options_.erasing, height, width, random);
    erase(box, channels, height, width, out, random);
  }
  if (options_.two_views()) {
    const Image again = fitted(seen, cut.second_fit, options_.second_height, options_.second_width);
    to_unit_(again, second, cut.second_placement);
  }
  return cut.placement.mirrored;
}

}  // namespace tessera
