// The loader before a device: its batches are the CPU's to the bit, whether the device makes the
// views of a batch out of pixels and plans or gets them finished.
#include "data/loader.h"

#include <catch2/catch.hpp>

#include "data/transforms.h"
#include "engine/raw.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

// Noise, in sizes below and far above the views', upright and wide, every third one grey.
Image noise_picture(int64_t i) {
  constexpr int kSizes[][2] = {{21, 33}, {40, 52}, {3, 7},   {64, 35},  {35, 64},
                               {1, 90},  {90, 1},  {22, 34}, {400, 300}};
  const auto [height, width] = kSizes[i % std::ssize(kSizes)];
  Image image(width, height, i % 3 == 2 ? 1 : 3);
  PhiloxStream random({11, static_cast<uint32_t>(i), 0});
  for (uint8_t& level : image.pixels) level = static_cast<uint8_t>(random.below(256));
  return image;
}

std::shared_ptr<const Dataset> noise() { return std::make_shared<MadeDataset>(36, noise_picture); }

DataOptions options_of(Augment augment, int channels, bool two_views) {
  DataOptions o;
  o.height = 21;
  o.width = 33;
  o.channels = channels;
  o.mean.resize(static_cast<size_t>(channels));
  o.std.resize(static_cast<size_t>(channels));
  if (two_views) {
    o.second_height = 14;
    o.second_width = 22;
  }
  o.augment = augment;
  o.batch_size = 12;
  o.seed = 3;
  o.workers = 2;
  return o;
}

enum class MadeBy { kHost, kDevice };

void check_same_batches(DataOptions options, int count, MadeBy made_by) {
  options.device = Device::kCpu;
  Loader on_cpu(noise(), options);
  options.device = Device::kCuda;
  Loader on_cuda(noise(), options);
  CHECK(on_cuda.device_makes_views() == (made_by == MadeBy::kDevice));
  CHECK_FALSE(on_cpu.device_makes_views());
  for (int i = 0; i < count; ++i) {
    const Batch want = on_cpu.next(), have = on_cuda.next();
    REQUIRE(have.images.device() == Device::kCuda);
    CHECK(have.images.to_vector<float>() == want.images.to_vector<float>());
    CHECK(have.second.defined() == want.second.defined());
    if (want.second.defined()) {
      CHECK(have.second.to_vector<float>() == want.second.to_vector<float>());
    }
    CHECK(have.indices == want.indices);
    CHECK(have.labels == want.labels);
    CHECK(have.mirrored == want.mirrored);
    REQUIRE(have.targets.defined() == want.targets.defined());
    if (want.targets.defined()) {
      CHECK(have.targets.to_vector<float>() == want.targets.to_vector<float>());
    }
  }
}

TEST_CASE("views that the device makes are the host's") {
  for (const Augment augment :
       {Augment::kNone, Augment::kFlip, Augment::kCropFlip, Augment::kShiftFlip}) {
    for (const int channels : {1, 3}) {
      for (const bool two_views : {false, true}) {
        INFO(name_of(augment) << ", " << channels << " channels, " << 1 + two_views << " views");
        check_same_batches(options_of(augment, channels, two_views), 4, MadeBy::kDevice);
      }
    }
  }
  DataOptions jittered = options_of(Augment::kCropFlip, 3, true);
  jittered.color_jitter = 0.4;
  check_same_batches(jittered, 4, MadeBy::kDevice);
}

TEST_CASE("views of batches with targets are the device's where nothing is mixed") {
  DataOptions options = options_of(Augment::kCropFlip, 3, false);
  options.classes = 3;
  options.mix.mixup_alpha = options.mix.cutmix_alpha = 0;
  check_same_batches(options, 4, MadeBy::kDevice);
  options.mix = {};
  options.mix.probability = 0;
  check_same_batches(options, 4, MadeBy::kDevice);
}

TEST_CASE("views that the host finished arrive as they are") {
  DataOptions erased = options_of(Augment::kCropFlip, 3, false);
  erased.erasing.emplace();
  check_same_batches(erased, 4, MadeBy::kHost);
  DataOptions mixed = options_of(Augment::kFlip, 3, false);
  mixed.classes = 3;
  mixed.workers = 0;
  check_same_batches(mixed, 4, MadeBy::kHost);
}

TEST_CASE("reading starts anywhere, and what was on its way is dropped") {
  DataOptions options = options_of(Augment::kCropFlip, 3, false);
  Loader straight(noise(), options);
  std::vector<std::vector<float>> all;
  for (int i = 0; i < 6; ++i) all.push_back(straight.next().images.to_vector<float>());
  options.device = Device::kCuda;
  Loader loader(noise(), options);
  CHECK(loader.next().images.to_vector<float>() == all[0]);
  loader.seek(1, 2);
  CHECK(loader.next().images.to_vector<float>() == all[5]);
  loader.seek(0, 1);
  const Batch kept = loader.next(), next = loader.next();
  CHECK(next.images.to_vector<float>() == all[2]);
  CHECK(kept.images.to_vector<float>() == all[1]);  // nothing was copied over it
}

TEST_CASE("a picture goes to the device as it is while it fits, else finished") {
  const AugmentOptions options = options_of(Augment::kNone, 3, false);
  const Augmenter augmenter(options);
  const PictureStager stager(options);
  std::vector<uint8_t> pixels(static_cast<size_t>(stager.pixel_room()));
  std::vector<int32_t> plan(static_cast<size_t>(stager.plan_room()));
  // Of the pixels that the plan is about.
  const auto width_of = [&](const Image& image, const Cut& cut) {
    stager.stage(image, cut, pixels.data(), plan.data(), nullptr);
    return plan[1];
  };
  const auto width_of_whole = [&](int height, int width) {
    PhiloxStream random({0, 0, 0});
    return width_of(Image(width, height, 3), augmenter.cut(height, width, random));
  };
  CHECK(width_of_whole(21, 33) == 33);
  CHECK(width_of_whole(42, 66) == 66);  // four times the view's pixels
  CHECK(width_of_whole(42, 67) == 33);  // and some more
  CHECK(width_of_whole(1, 2000) == 2000);
  const auto width_of_tall = [&](int height) {
    Cut cut;
    cut.fit = {{0, 0, height, 12}, 21, 33};
    return width_of(Image(12, height, 3), cut);
  };
  CHECK(width_of_tall(120) == 12);
  CHECK(width_of_tall(130) == 33);  // more taps than the device takes
}

}  // namespace
}  // namespace tessera
