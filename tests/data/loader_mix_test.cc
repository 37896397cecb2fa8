// What fine-tuning asks of the loader: RandAugment, erasing, mixed batches with targets.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "data/loader.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

constexpr int64_t kPictures = 70, kBatch = 20, kClasses = 3;

// Picture i is 40 (1 + class) everywhere.
std::shared_ptr<const Dataset> plain_pictures() {
  return std::make_shared<MadeDataset>(kPictures, [](int64_t i) {
    Image image(8, 8, 3);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(40 * (1 + i % 3)));
    return image;
  });
}

std::shared_ptr<const Dataset> numbered_pictures() {
  return std::make_shared<MadeDataset>(kPictures,
                                       [](int64_t i) { return numbered_picture(i, 12, 9); });
}

DataOptions options_of(Augment augment = Augment::kNone) {
  DataOptions o;
  o.height = o.width = 8;
  o.batch_size = kBatch;
  o.workers = 0;
  o.augment = augment;
  o.classes = kClasses;
  o.mix = {.mixup_alpha = 0, .cutmix_alpha = 0, .label_smoothing = 0};
  o.mean = {0, 0, 0};
  o.std = {1, 1, 1};
  o.seed = 42;
  return o;
}

struct Bytes {
  std::vector<float> images, targets;
  std::vector<int64_t> labels;
  bool operator==(const Bytes&) const = default;
};

std::vector<Bytes> read(Loader& loader, int count) {
  std::vector<Bytes> batches;
  for (int i = 0; i < count; ++i) {
    const Batch b = loader.next();
    batches.push_back({b.images.to_vector<float>(), b.targets.to_vector<float>(), b.labels});
  }
  return batches;
}

// The row of targets of one picture.
std::vector<double> row_of(const Bytes& batch, int64_t picture) {
  const float* first = batch.targets.data() + picture * kClasses;
  return {first, first + kClasses};
}

double mean_of(const Bytes& batch, int64_t picture) {
  const auto first = batch.images.begin() + picture * 192;
  double sum = 0;
  std::for_each(first, first + 192, [&](float x) { sum += x; });
  return sum / 192;
}

}  // namespace

TEST_CASE("With everything on: the same bytes for any number of workers, from any batch on",
          "[loader]") {
  for (const Augment augment : {Augment::kCropFlip, Augment::kShiftFlip}) {
    DataOptions o = options_of(augment);
    o.rand_augment.emplace();
    o.erasing.emplace();
    o.mix = {};
    std::vector<std::vector<Bytes>> runs;
    for (const int workers : {0, 1, 3}) {
      o.workers = workers;
      Loader loader(numbered_pictures(), o);
      runs.push_back(read(loader, 8));  // over two epochs
      loader.seek(1, 1);
      CHECK(read(loader, 2) == std::vector<Bytes>(runs[0].begin() + 4, runs[0].begin() + 6));
    }
    CHECK(runs[0] == runs[1]);
    CHECK(runs[0] == runs[2]);
  }
}

TEST_CASE("Mixup and CutMix keep label mass: a target says what the picture is made of",
          "[loader]") {
  for (const auto& [mixup, cutmix] : {std::pair{0.8, 0.0}, {0.0, 1.0}, {0.8, 1.0}}) {
    INFO("mixup " << mixup << ", cutmix " << cutmix);
    DataOptions o = options_of();
    o.mix.mixup_alpha = mixup;
    o.mix.cutmix_alpha = cutmix;
    Loader loader(plain_pictures(), o);
    std::set<float> shares;
    int mixed = 0;
    for (const Bytes& batch : read(loader, 30)) {
      for (int64_t i = 0; i < kBatch; ++i) {
        const std::vector<double> target = row_of(batch, i);
        double mass = 0, level = 0;
        for (int64_t c = 0; c < kClasses; ++c) {
          CHECK(target[c] >= 0);
          mass += target[c];
          level += target[c] * 40 * (1 + double(c)) / 255;
        }
        CHECK(mass == Approx(1).epsilon(1e-6));
        CHECK(mean_of(batch, i) == Approx(level).epsilon(1e-5));
        const int64_t label = batch.labels[i], partner = batch.labels[kBatch - 1 - i];
        CHECK(target[label] + (label == partner ? 0 : target[partner]) == Approx(1));
        if (label == partner) continue;
        shares.insert(batch.targets[i * kClasses + label]);
        mixed += target[label] < 1;
      }
    }
    // Another share for every batch of every epoch; of boxes on 8 x 8 pixels, few areas.
    CHECK(shares.size() > (mixup > 0 ? 15 : 6));
    CHECK(mixed > 200);
  }
}

TEST_CASE("Label smoothing alone leaves the pictures as they are", "[loader]") {
  DataOptions o = options_of(Augment::kCropFlip);
  o.mix.label_smoothing = 0.3;
  Loader smoothed(numbered_pictures(), o);
  o.classes = 0;
  Loader plain(numbered_pictures(), o);
  for (int k = 0; k < 5; ++k) {
    const Batch have = smoothed.next(), want = plain.next();
    CHECK_FALSE(want.targets.defined());
    CHECK(have.images.to_vector<float>() == want.images.to_vector<float>());
    REQUIRE(have.targets.shape() == Shape{kBatch, kClasses});
    const auto targets = have.targets.to_vector<float>();
    for (int64_t i = 0; i < kBatch; ++i) {
      for (int64_t c = 0; c < kClasses; ++c) {
        CHECK(targets[i * kClasses + c] == Approx(c == want.labels[i] ? 0.8 : 0.1));
      }
    }
  }
  o.classes = kClasses + 2;  // a head may have more
  Loader wider(numbered_pictures(), o);
  CHECK(wider.next().targets.shape() == Shape{kBatch, kClasses + 2});
}

TEST_CASE("RandAugment and erasing act before the mix, each only where asked for", "[loader]") {
  const auto pixels = [](const DataOptions& o) {
    Loader loader(numbered_pictures(), o);
    return read(loader, 3);
  };
  const DataOptions plain = options_of();
  const std::vector<Bytes> before = pixels(plain);
  DataOptions o = plain;
  o.rand_augment = RandAugment{.probability = 0};
  o.erasing = RandomErasing{.probability = 0};
  CHECK(pixels(o) == before);

  o.erasing = RandomErasing{.probability = 1, .area = {0.1, 0.3}};
  double erased = 0, total = 0;
  int left_out = 0;  // pictures for which no rectangle fitted
  const std::vector<Bytes> holed = pixels(o);
  for (size_t k = 0; k < holed.size(); ++k) {
    for (int64_t i = 0; i < kBatch; ++i) {
      int changed = 0;
      for (int p = 0; p < 192; ++p) {
        changed += holed[k].images[i * 192 + p] != before[k].images[i * 192 + p];
      }
      CHECK(changed % 3 == 0);  // the same rectangle in all channels
      CHECK(changed <= 192 * 0.5);
      erased += changed;
      total += 192;
      left_out += changed == 0;
    }
  }
  CHECK(erased / total == Approx(0.2).margin(0.05));
  CHECK(left_out == 0);

  o.erasing.reset();
  o.rand_augment = RandAugment{.probability = 1};
  const std::vector<Bytes> changed = pixels(o);
  CHECK(changed[0].images != before[0].images);
  CHECK(changed[0].targets == before[0].targets);
  for (const float x : changed[0].images) CHECK((x >= 0 && x <= 1));  // still a picture of levels
}

TEST_CASE("Mixing that makes no sense is refused before anything is read", "[loader]") {
  const auto refused = [](const char* words, auto change) {
    DataOptions o = options_of();
    change(o);
    CHECK_THAT(error_of([&] { Loader(numbered_pictures(), o); }), Catch::Contains(words));
    CHECK_THROWS_AS(Loader(numbered_pictures(), o), UsageError);
  };
  refused("pictures of 3 classes for targets of 2", [](DataOptions& o) { o.classes = 2; });
  refused("-1", [](DataOptions& o) { o.classes = -1; });
  refused("--mixup and --cutmix must be 0 or from 0.001 to 1000, got -1",
          [](DataOptions& o) { o.mix.mixup_alpha = -1; });
  refused("--label-smoothing must be in [0, 1), got 1",
          [](DataOptions& o) { o.mix.label_smoothing = 1; });
  refused("1.5", [](DataOptions& o) { o.mix.probability = 1.5; });
  refused("--rand-augment must be in [0, 10], got 11",
          [](DataOptions& o) { o.rand_augment = RandAugment{.magnitude = 11}; });
  refused("-2 operations", [](DataOptions& o) { o.rand_augment = RandAugment{.operations = -2}; });
  refused("--random-erasing must be in [0, 1], got 2",
          [](DataOptions& o) { o.erasing = RandomErasing{.probability = 2}; });
  refused("0.5 to 0.2", [](DataOptions& o) { o.erasing = RandomErasing{.area = {0.5, 0.2}}; });
}

}  // namespace tessera
