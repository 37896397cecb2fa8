// The loader's promises: bytes by (seed, epoch, k) alone, exact resumption, broken files replaced,
// counted and, when there are many, refused.
#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <new>
#include <set>

#include "data/builtin.h"
#include "data/evaluation.h"
#include "data/transforms.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

using Catch::Matchers::Contains;

std::shared_ptr<const Dataset> numbered(int64_t size, int height = 12, int width = 9) {
  return std::make_shared<MadeDataset>(
      size, [=](int64_t i) { return numbered_picture(i, height, width); });
}

// Pictures whose number `broken` accepts cannot be read.
template <class Broken>
std::shared_ptr<const Dataset> with_broken(int64_t size, Broken broken) {
  return std::make_shared<MadeDataset>(size, [=](int64_t i) {
    if (broken(i)) throw Error("[decode] made-" + std::to_string(i) + ": cut short");
    return numbered_picture(i, 12, 9);
  });
}

DataOptions options_of(int64_t batch, int workers, Augment augment = Augment::kCropFlip) {
  DataOptions o;
  o.height = o.width = 8;
  o.batch_size = batch;
  o.workers = workers;
  o.augment = augment;
  o.seed = 42;
  return o;
}

struct Bytes {
  std::vector<float> images;
  std::vector<int64_t> labels, indices;
  int64_t epoch, k;
  bool operator==(const Bytes&) const = default;
};

Bytes bytes_of(const Batch& b) {
  return {b.images.to_vector<float>(), b.labels, b.indices, b.epoch, b.k};
}

std::vector<Bytes> read(Loader& loader, int count) {
  std::vector<Bytes> batches;
  for (int i = 0; i < count; ++i) batches.push_back(bytes_of(loader.next()));
  return batches;
}

}  // namespace

TEST_CASE("Batches are the same for any number of workers", "[loader]") {
  for (Augment augment : {Augment::kNone, Augment::kCropFlip, Augment::kShiftFlip}) {
    std::vector<std::vector<Bytes>> runs;
    for (int workers : {0, 1, 3}) {
      Loader loader(numbered(70), options_of(20, workers, augment));
      runs.push_back(read(loader, 8));  // over two epochs
    }
    CHECK(runs[0] == runs[1]);
    CHECK(runs[0] == runs[2]);
  }
}

TEST_CASE("Reading can start at any batch of any epoch", "[loader]") {
  for (int workers : {0, 2}) {
    Loader straight(numbered(70), options_of(20, workers)),
        resumed(numbered(70), options_of(20, workers));
    const std::vector<Bytes> all = read(straight, 9);
    resumed.seek(1, 2);
    CHECK(read(resumed, 4) == std::vector<Bytes>(all.begin() + 5, all.end()));
    resumed.seek(0, 1);  // back again, with batches already under way
    CHECK(read(resumed, 2) == std::vector<Bytes>(all.begin() + 1, all.begin() + 3));
  }
  Loader loader(numbered(70), options_of(20, 0));
  CHECK_THROWS_AS(loader.seek(0, 3), Error);
  CHECK_THROWS_AS(loader.seek(-1, 0), Error);
}

TEST_CASE("An epoch is a permutation, another one each time; seeds differ", "[loader]") {
  DataOptions o = options_of(20, 1);
  o.drop_last = false;
  Loader loader(numbered(70), o);
  REQUIRE(loader.batches_per_epoch() == 4);
  std::vector<std::vector<int64_t>> epochs(2);
  for (auto& order : epochs) {
    for (int k = 0; k < 4; ++k) {
      const Batch b = loader.next();
      CHECK(b.k == k);
      CHECK(b.images.size(0) == (k < 3 ? 20 : 10));
      for (size_t i = 0; i < b.indices.size(); ++i) CHECK(b.labels[i] == b.indices[i] % 3);
      order.insert(order.end(), b.indices.begin(), b.indices.end());
    }
    CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 70);
  }
  CHECK(epochs[0] != epochs[1]);
  o.seed = 43;
  Loader other(numbered(70), o);
  CHECK(other.next().indices != std::vector<int64_t>(epochs[0].begin(), epochs[0].begin() + 20));
}

TEST_CASE("The same picture is augmented anew in each epoch", "[loader]") {
  DataOptions o = options_of(1, 0);
  o.crop_scale = {0.3, 0.6};
  Loader loader(numbered(1), o);
  CHECK(bytes_of(loader.next()).images != bytes_of(loader.next()).images);
}

TEST_CASE("Without augmentation a picture of the right size is untouched", "[loader]") {
  DataOptions o = options_of(5, 1, Augment::kNone);
  Loader loader(numbered(5, 8, 8), o);
  const Batch b = loader.next();
  for (size_t i = 0; i < 5; ++i) {
    const std::vector<float> want =
        to_tensor_normalize(numbered_picture(b.indices[i], 8, 8), o.mean, o.std);
    const float* got = b.images.data<float>() + i * want.size();
    CHECK(std::equal(want.begin(), want.end(), got));
  }
}

TEST_CASE("shift-flip: a mirrored or plain picture moved by up to two, zeros moving in",
          "[loader]") {
  DataOptions o = options_of(40, 2, Augment::kShiftFlip);
  Loader loader(numbered(40, 8, 8), o);
  std::set<std::tuple<bool, int, int>> seen;
  for (int k = 0; k < 5; ++k) {
    const Batch b = loader.next();
    for (size_t i = 0; i < 40; ++i) {
      const float* got = b.images.data<float>() + i * 192;
      int matches = 0;
      for (int flip = 0; flip < 2; ++flip) {
        const Image picture = numbered_picture(b.indices[i], 8, 8);
        const auto plain = to_tensor_normalize(flip ? hflip(picture) : picture, o.mean, o.std);
        for (int dy = -2; dy <= 2; ++dy) {
          for (int dx = -2; dx <= 2; ++dx) {
            bool same = true;
            for (int c = 0; c < 3; ++c) {
              for (int y = 0; y < 8; ++y) {
                for (int x = 0; x < 8; ++x) {
                  const int sy = y - dy, sx = x - dx;
                  const bool in = sy >= 0 && sy < 8 && sx >= 0 && sx < 8;
                  same &= got[(c * 8 + y) * 8 + x] == (in ? plain[(c * 8 + sy) * 8 + sx] : 0.0f);
                }
              }
            }
            if (same) seen.insert({flip, dy, dx});
            matches += same;
          }
        }
      }
      REQUIRE(matches == 1);
    }
  }
  CHECK(seen.size() > 45);  // of 50
}

TEST_CASE("Grey batches", "[loader]") {
  DataOptions o = options_of(4, 0, Augment::kNone);
  o.channels = 1;
  CHECK_THROWS_AS(Loader(numbered(4, 8, 8), o), UsageError);  // three means
  o.mean = {0.0f};
  o.std = {1.0f};
  Loader loader(numbered(4, 8, 8), o);
  const Batch b = loader.next();
  CHECK(b.images.shape() == Shape{4, 1, 8, 8});
  const Image want = grayscale(numbered_picture(b.indices[2], 8, 8), 1);
  CHECK(b.images.data<float>()[2 * 64 + 9] == want.pixels[9] / 255.0f);
}

TEST_CASE("The endless set goes on to new pictures in each epoch", "[loader]") {
  const auto set = std::make_shared<BuiltinDataset>(10, true, PictureStream::kTraining, 8, 8);
  Loader loader(set, options_of(5, 2, Augment::kNone));
  std::set<int64_t> seen;
  for (int i = 0; i < 6; ++i) {
    const Batch b = loader.next();
    for (int64_t index : b.indices) {
      seen.insert(index);
      CHECK(index / 10 == b.epoch);
    }
    CHECK(b.labels[0] == set->label(b.indices[0]));
  }
  CHECK(seen.size() == 30);
}

TEST_CASE("A broken file is replaced the same way for any number of workers", "[loader]") {
  const auto set = with_broken(1000, [](int64_t i) { return i % 125 == 7; });  // 8 of 1000
  std::vector<std::vector<Bytes>> runs;
  for (int workers : {0, 1, 3}) {
    Loader loader(set, options_of(500, workers));
    runs.push_back(read(loader, 3));
    const std::vector<BrokenFile> broken = loader.broken_files();
    REQUIRE(broken.size() == 8);
    CHECK(broken[0].name == "made-132");  // sorted as names are
    CHECK_THAT(broken[0].reason, Contains("cut short"));
  }
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0] == runs[2]);
  for (const Bytes& b : runs[0]) {
    for (size_t i = 0; i < b.indices.size(); ++i) {
      CHECK(b.indices[i] % 125 != 7);
      CHECK(b.labels[i] == b.indices[i] % 3);
    }
  }
  // The other positions are as if nothing were broken.
  Loader whole(numbered(1000), options_of(500, 0));
  const Bytes sound = bytes_of(whole.next());
  for (size_t i = 0; i < 500; ++i) {
    if (sound.indices[i] % 125 == 7) continue;
    REQUIRE(runs[0][0].indices[i] == sound.indices[i]);
    REQUIRE(std::equal(&sound.images[i * 192], &sound.images[i * 192] + 192,
                       &runs[0][0].images[i * 192]));
  }
}

TEST_CASE("More than one in a hundred broken stops the run, at the same batch", "[loader]") {
  const auto set = with_broken(1000, [](int64_t i) { return i % 50 == 7; });  // 20 of 1000
  std::vector<int> stopped;
  for (int workers : {0, 3}) {
    Loader loader(set, options_of(10, workers));
    int batches = 0;
    const std::string message = error_of([&] {
      for (; batches < 100; ++batches) loader.next();
    });
    CHECK_THAT(message, Contains("cannot be decoded: [decode] made-") && !Contains("\n"));
    CHECK_THAT(message, Contains("likewise made-") && Contains(", made-") && Contains(", ..."));
    CHECK(loader.broken_files().size() >= 5);
    stopped.push_back(batches);
  }
  CHECK(stopped[0] == stopped[1]);
}

TEST_CASE("Half a set broken is seen after the first hundred", "[loader]") {
  const auto set = with_broken(100'000, [](int64_t i) { return i % 2 == 1; });
  Loader loader(set, options_of(10, 1));
  int batches = 0;
  CHECK_THAT(error_of([&] {
               for (; batches < 100; ++batches) loader.next();
             }),
             Contains("pictures tried cannot be decoded"));
  CHECK(batches >= 3);  // not before 100 are tried, replacements among them
  CHECK(batches <= 10);
}

TEST_CASE("A set with fewer than one in a hundred broken is never stopped", "[loader]") {
  const auto set = with_broken(2000, [](int64_t i) { return i % 112 == 7; });  // 18 of 2000
  for (uint64_t seed = 0; seed < 20; ++seed) {
    DataOptions o = options_of(20, 0, Augment::kNone);
    o.seed = seed;
    Loader loader(set, o);
    INFO("seed " << seed);
    for (int k = 0; k < 100; ++k) CHECK_NOTHROW(loader.next());
    CHECK(loader.broken_files().size() == 18);
  }
}

TEST_CASE("Exactly one in a hundred is allowed, and few files are too few to judge", "[loader]") {
  Loader edge(with_broken(100, [](int64_t i) { return i == 7; }), options_of(100, 1));
  CHECK_NOTHROW(read(edge, 3));
  // One good picture in twenty: below a hundred tried, so the run goes on with that one.
  Loader few(with_broken(20, [](int64_t i) { return i != 13; }), options_of(4, 1));
  for (const Bytes& b : read(few, 3)) CHECK(b.indices == std::vector<int64_t>(4, 13));
  CHECK(few.broken_files().size() == 19);
}

TEST_CASE("A set of which nothing decodes is refused at once", "[loader]") {
  std::atomic<int> tried = 0;
  const auto set = with_broken(5000, [&](int64_t) { return ++tried > 0; });
  CHECK_THAT(error_of([&] { Loader(set, options_of(4, 2)); }),
             Contains("made-0: cut short; likewise made-1, made-2, ..."));
  CHECK(tried == 100);
  const auto one = with_broken(1, [](int64_t) { return true; });
  CHECK_THAT(error_of([&] { Loader(one, options_of(4, 2)); }), Contains("made-0"));
}

TEST_CASE("Options that make no sense are refused", "[loader]") {
  auto refused = [](auto change) {
    DataOptions o = options_of(4, 0);
    change(o);
    CHECK_THROWS_AS(Loader(numbered(10), o), UsageError);
  };
  refused([](DataOptions& o) { o.batch_size = 0; });
  refused([](DataOptions& o) { o.batch_size = 11; });
  refused([](DataOptions& o) { o.width = 0; });
  refused([](DataOptions& o) { o.channels = 2; });
  refused([](DataOptions& o) { o.std[1] = 0; });
  refused([](DataOptions& o) { o.crop_scale = {0.5, 0.4}; });
  refused([](DataOptions& o) { o.crop_scale = {0.5, 1.1}; });
  refused([](DataOptions& o) { o.color_jitter = -0.1; });
  refused([](DataOptions& o) { o.color_jitter = 1.1; });
  refused([](DataOptions& o) { o.workers = -1; });
  CHECK_THROWS_AS(Loader(numbered(0), options_of(4, 0)), UsageError);
  CHECK(augment_from_name("shift-flip") == Augment::kShiftFlip);
  CHECK_THROWS_AS(augment_from_name("fog"), UsageError);
}

TEST_CASE("Other failures surface in next(); a loader can be dropped at any time", "[loader]") {
  for (int workers : {0, 2}) {
    std::atomic<int> calls = 0;
    const auto set = std::make_shared<MadeDataset>(100, [&](int64_t i) {
      if (++calls > 30) throw std::bad_alloc();
      return numbered_picture(i, 12, 9);
    });
    Loader loader(set, options_of(50, workers));
    CHECK_THROWS_AS(loader.next(), std::bad_alloc);
  }
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    Loader loader(numbered(2000), options_of(500, 3));
    if (i % 2 == 1) loader.next();
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("The evaluation reader fits pictures without changing those that fit", "[evaluation]") {
  const EvaluationReader exact(numbered(3, 8, 10), 8, 10);
  const Tensor t = exact.picture(2);
  CHECK(t.shape() == Shape{3, 8, 10});
  CHECK(t.data<float>()[0] == 2 / 255.0f);
  CHECK(exact.pictures(1, 2).to_vector<float>()[240] == t.data<float>()[0]);
  CHECK(exact.name(1) == "made-1");
  CHECK_THROWS_AS(exact.picture(3), Error);

  const Image wide = fit_picture(numbered_picture(1, 20, 50), 10, 10, 3);
  CHECK(wide ==
        center_crop(resize_shorter_side(numbered_picture(1, 20, 50), 10, Interpolation::kBicubic),
                    10));
  for (auto [h, w] : {std::pair{20, 50}, {50, 20}, {3, 3}, {1, 40}, {40, 1}}) {
    Image light(w, h, 3);
    std::fill(light.pixels.begin(), light.pixels.end(), uint8_t{200});
    const Image fitted = fit_picture(light, 12, 16, 1);
    CHECK(fitted.height == 12);
    CHECK(fitted.width == 16);
    CHECK(*std::min_element(fitted.pixels.begin(), fitted.pixels.end()) == 200);  // no black border
  }
}

}  // namespace tessera
