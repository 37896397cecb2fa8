// From numbers to scenes: which random stream draws which picture.
// Rule: the stream's key holds the seed, the picture's number and which of the two streams it is.
#include "data/builtin.h"

#include "data/scene/draw.h"
#include "engine/error.h"
#include "engine/philox.h"

namespace tessera {
namespace {

constexpr int64_t kMaxPictures = int64_t{1} << 31;  // the key's 32 bits, less one for the stream

PhiloxStream stream_of(uint64_t seed, PictureStream stream, int64_t i) {
  TESSERA_CHECK(i >= 0 && i < kMaxPictures, "[builtin] there is no picture {}, only 0 to {}", i,
                kMaxPictures - 1);
  const uint32_t held_out = stream == PictureStream::kHeldOut ? 1u << 31 : 0u;
  return PhiloxStream({seed, static_cast<uint32_t>(i) | held_out, kSitePicture});
}

}  // namespace

BuiltinDataset::BuiltinDataset(int64_t count, bool endless, PictureStream stream, int height,
                               int width, uint64_t seed)
    : count_(count),
      endless_(endless),
      stream_(stream),
      height_(height),
      width_(width),
      seed_(seed) {
  TESSERA_CHECK_USAGE(count >= 0 && count < kMaxPictures,
                      "[builtin] a set of {} pictures; at most {} can be drawn", count,
                      kMaxPictures - 1);
  TESSERA_CHECK_USAGE(height > 0 && width > 0, "[builtin] pictures of {} x {} have no pixels",
                      width, height);
}

const std::vector<std::string>& BuiltinDataset::class_names() const {
  static const std::vector<std::string> names(scene::kKindNames,
                                              scene::kKindNames + scene::kNumKinds);
  return names;
}

int64_t BuiltinDataset::label(int64_t i) const {
  PhiloxStream random = stream_of(seed_, stream_, i);
  return scene::main_kind(random);
}

std::string BuiltinDataset::name(int64_t i) const {
  return fmt::format("builtin:{}{}", stream_ == PictureStream::kHeldOut ? "held-out:" : "", i);
}

std::string BuiltinDataset::version(int64_t) const {
  return fmt::format("{}x{}, seed {}", height_, width_, seed_);
}

Image BuiltinDataset::picture(int64_t i) const {
  PhiloxStream random = stream_of(seed_, stream_, i);
  return scene::draw(scene::compose(random), height_, width_);
}

LabelledPicture BuiltinDataset::labelled_picture(int64_t i) const {
  PhiloxStream random = stream_of(seed_, stream_, i);
  const scene::Scene scene = scene::compose(random);
  return {scene::draw(scene, height_, width_), scene::draw_classes(scene, height_, width_),
          scene.things[0].kind};
}

const std::vector<std::string>& builtin_pixel_classes() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all(scene::kKindNames, scene::kKindNames + scene::kNumKinds);
    for (const char* backdrop : {"ground", "wall", "sky", "hills"}) all.push_back(backdrop);
    return all;
  }();
  return names;
}

}  // namespace tessera
