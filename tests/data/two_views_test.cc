// Two views of one cut: what the model and a tokenizer see of a picture must show the same.
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "data/augment.h"
#include "data/loader.h"
#include "data/resize.h"
#include "engine/raw.h"
#include "tests/data/fixtures.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

// A slope in both directions, in colours that tell left from right and top from bottom.
Image slope(int64_t i, int height, int width) {
  Image image(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.at(y, x, 0) = static_cast<uint8_t>(255 * x / (width - 1));
      image.at(y, x, 1) = static_cast<uint8_t>(255 * y / (height - 1));
      image.at(y, x, 2) = static_cast<uint8_t>(i * 10);
    }
  }
  return image;
}

DataOptions options_of(Augment augment, int side, int second) {
  DataOptions o;
  o.height = o.width = side;
  o.second_height = o.second_width = second;
  o.augment = augment;
  o.batch_size = 8;
  o.workers = 0;
  o.seed = 5;
  return o;
}

Batch first_batch(const DataOptions& options) {
  const auto data = std::make_shared<MadeDataset>(16, [](int64_t i) { return slope(i, 40, 48); });
  return Loader(data, options).next();
}

// What was normalised, back in [0, 1].
std::vector<float> unit_values(const Batch& batch, const DataOptions& o) {
  std::vector<float> values = batch.images.to_vector<float>();
  const size_t plane = static_cast<size_t>(o.height) * static_cast<size_t>(o.width);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t c = i / plane % 3;
    values[i] = values[i] * o.std[c] + o.mean[c];
  }
  return values;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  float most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float difference = std::abs(a[i] - b[i]);
    if (ops_test::is_worse(difference, most)) most = difference;
  }
  return most;
}

}  // namespace

TEST_CASE("views of one size agree, the border that moves in included", "[loader]") {
  for (const Augment augment : {Augment::kNone, Augment::kFlip, Augment::kShiftFlip}) {
    const DataOptions options = options_of(augment, 24, 24);
    const Batch batch = first_batch(options);
    CHECK(largest_difference(unit_values(batch, options), batch.second.to_vector<float>()) < 1e-5f);
  }
  // A random crop goes through two filters: nearly the same.
  const DataOptions options = options_of(Augment::kCropFlip, 24, 24);
  const Batch batch = first_batch(options);
  CHECK(largest_difference(unit_values(batch, options), batch.second.to_vector<float>()) < 0.02f);
}

TEST_CASE("a view of another size shows the same cut", "[loader]") {
  for (const Augment augment :
       {Augment::kNone, Augment::kFlip, Augment::kCropFlip, Augment::kShiftFlip}) {
    INFO(name_of(augment));
    const DataOptions options = options_of(augment, 24, 48);
    const Batch batch = first_batch(options);
    REQUIRE(batch.second.shape() == Shape({8, 3, 48, 48}));
    // Every pixel of the small view is the mean of its four in the large one.
    const std::vector<float> large = batch.second.to_vector<float>();
    std::vector<float> small(static_cast<size_t>(8 * 3 * 24 * 24));
    for (size_t i = 0; i < small.size(); ++i) {
      const size_t plane = i / (24 * 24), y = i / 24 % 24, x = i % 24;
      const float* at = large.data() + plane * 48 * 48 + 2 * y * 48 + 2 * x;
      small[i] = (at[0] + at[1] + at[48] + at[49]) / 4;
    }
    CHECK(largest_difference(unit_values(batch, options), small) < 0.03f);
  }
}

TEST_CASE("a batch says which pictures are mirrored", "[loader]") {
  const DataOptions plain = options_of(Augment::kNone, 24, 0),
                    flip = options_of(Augment::kFlip, 24, 0);
  const Batch a = first_batch(plain), b = first_batch(flip);
  CHECK(a.mirrored == std::vector<uint8_t>(8, 0));
  CHECK(!a.second.defined());
  int mirrored = 0;
  for (int64_t i = 0; i < 8; ++i) {
    const Tensor before = raw::select(a.images, 0, i);
    const Tensor after = raw::select(b.images, 0, i);
    const bool is_mirrored = b.mirrored[static_cast<size_t>(i)] != 0;
    mirrored += is_mirrored;
    CHECK(after.to_vector<float>() ==
          (is_mirrored ? raw::flip(before, 2) : before).to_vector<float>());
  }
  CHECK(mirrored > 0);
  CHECK(mirrored < 8);
}

TEST_CASE("the colours of both views come from one draw, of the picture before it is cut",
          "[loader]") {
  const Image picture = slope(3, 40, 48);
  AugmentOptions options = options_of(Augment::kCropFlip, 24, 16);
  const Augmenter plain(options);
  options.color_jitter = 0.4;
  const Augmenter jittered(options);
  std::vector<float> first(3 * 24 * 24), second(3 * 16 * 16);
  for (int i = 0; i < 8; ++i) {
    PhiloxStream random = stream_at(5, 0, kSiteAugment, i), again = random, behind_cut = random;
    const bool mirrored = jittered(picture, random, first.data(), second.data());
    plain.cut(picture.height, picture.width, behind_cut);
    const Image colored =
        color_jitter(picture, {.brightness = 0.4, .contrast = 0.4, .saturation = 0.4}, behind_cut);
    CHECK_FALSE(colored == picture);
    std::vector<float> want_first(first.size()), want_second(second.size());
    CHECK(plain(colored, again, want_first.data(), want_second.data()) == mirrored);
    CHECK(first == want_first);
    CHECK(second == want_second);
  }
}

TEST_CASE("jitter is another in every place and epoch, and follows from the seed", "[loader]") {
  using Epochs = std::array<std::vector<float>, 2>;
  const auto data = std::make_shared<MadeDataset>(8, [](int64_t) { return slope(1, 40, 48); });
  const auto epochs_of = [&](double jitter, uint64_t seed, int workers) -> Epochs {
    DataOptions options = options_of(Augment::kNone, 24, 0);
    options.color_jitter = jitter;
    options.seed = seed;
    options.workers = workers;
    Loader loader(data, options);  // an epoch is a batch of eight times the same picture
    const Batch one = loader.next(), two = loader.next();
    REQUIRE(two.epoch == 1);
    return {one.images.to_vector<float>(), two.images.to_vector<float>()};
  };
  const auto pictures_of = [](const std::vector<float>& batch) {
    std::set<std::vector<float>> different;
    const auto size = std::ssize(batch) / 8;
    for (auto at = batch.begin(); at != batch.end(); at += size) different.emplace(at, at + size);
    return different.size();
  };
  const Epochs jittered = epochs_of(0.4, 5, 0), plain = epochs_of(0, 5, 0);
  CHECK(pictures_of(jittered[0]) == 8);
  CHECK((jittered[0] != jittered[1]));
  CHECK((jittered == epochs_of(0.4, 5, 2)));
  CHECK((jittered != epochs_of(0.4, 6, 0)));
  CHECK(pictures_of(plain[0]) == 1);
  CHECK((plain[0] == plain[1]));
}

TEST_CASE("a second view does not change the first, and RandAugment has none", "[loader]") {
  const Batch one = first_batch(options_of(Augment::kCropFlip, 24, 0));
  const Batch two = first_batch(options_of(Augment::kCropFlip, 24, 16));
  CHECK(one.images.to_vector<float>() == two.images.to_vector<float>());
  DataOptions options = options_of(Augment::kCropFlip, 24, 16);
  options.rand_augment.emplace();
  CHECK_THROWS_AS(first_batch(options), UsageError);
}

}  // namespace tessera
