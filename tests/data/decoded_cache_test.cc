// The cache of decoded pictures: batches are those of a loader without one, pictures that are kept
// are not decoded again, the budget holds.
#include "data/decoded_cache.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "data/builtin.h"
#include "data/loader.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

constexpr int64_t kPictures = 50;
constexpr int64_t kPictureBytes = 30 * 20 * 3;

// Pictures of 30 x 20, and how often each was decoded.
struct CountedSet {
  std::vector<std::atomic<int>> decoded = std::vector<std::atomic<int>>(kPictures);
  std::shared_ptr<const Dataset> set = std::make_shared<MadeDataset>(kPictures, [this](int64_t i) {
    ++decoded[i];
    if (i % 51 == 17) throw Error("[decode] made-17: cut short");
    return numbered_picture(i, 20, 30);
  });

  int total() const {
    int sum = 0;
    for (const auto& n : decoded) sum += n;
    return sum;
  }
};

DataOptions options_of(int workers, int64_t cache_bytes, Augment augment = Augment::kCropFlip) {
  DataOptions o;
  o.height = o.width = 16;
  o.batch_size = 8;
  o.drop_last = false;
  o.workers = workers;
  o.cache_bytes = cache_bytes;
  o.augment = augment;
  o.seed = 7;
  return o;
}

std::vector<std::vector<float>> read(Loader& loader, int64_t batches) {
  std::vector<std::vector<float>> images;
  for (int64_t i = 0; i < batches; ++i) images.push_back(loader.next().images.to_vector<float>());
  return images;
}

constexpr int64_t kNone = 0, kSome = 10 * (kPictureBytes + 200), kAmple = int64_t{1} << 30;

}  // namespace

TEST_CASE("Batches do not depend on the cache, nor on where reading started", "[cache]") {
  for (Augment augment : {Augment::kNone, Augment::kCropFlip, Augment::kShiftFlip}) {
    CountedSet pictures;
    Loader plain(pictures.set, options_of(0, kNone, augment));
    const auto want = read(plain, 3 * plain.batches_per_epoch());
    for (int workers : {0, 1, 3}) {
      for (int64_t budget : {kSome, kAmple}) {
        Loader cached(pictures.set, options_of(workers, budget, augment));
        CHECK(read(cached, static_cast<int64_t>(want.size())) == want);
        Loader resumed(pictures.set, options_of(workers, budget, augment));
        resumed.seek(1, 3);
        const int64_t first = plain.batches_per_epoch() + 3;
        CHECK(read(resumed, 5) ==
              std::vector<std::vector<float>>(want.begin() + first, want.begin() + first + 5));
      }
    }
  }
}

TEST_CASE("With room for all, each sound picture is decoded once", "[cache]") {
  for (int workers : {0, 3}) {
    CountedSet pictures;
    Loader loader(pictures.set, options_of(workers, kAmple));
    read(loader, 3 * loader.batches_per_epoch());
    const DecodedCache::Size size = loader.cache().size();
    CHECK(size.pictures == kPictures - 1);
    CHECK(size.bytes > size.pictures * kPictureBytes);
    CHECK(size.bytes < size.pictures * (kPictureBytes + 1000));
    for (int64_t i = 0; i < kPictures; ++i) {
      if (i == 17) continue;
      CHECK(pictures.decoded[i] >= 1);
      CHECK(pictures.decoded[i] <= workers + 1);  // threads that all miss it at the same time
    }
    CHECK(pictures.decoded[17] >= 3);  // nothing is known of it but that it failed: tried again
  }
}

TEST_CASE("The budget holds, and what was kept first stays", "[cache]") {
  CountedSet pictures;
  Loader loader(pictures.set, options_of(0, kSome));
  read(loader, loader.batches_per_epoch());
  const DecodedCache::Size size = loader.cache().size();
  CHECK(size.bytes <= kSome);
  REQUIRE(size.pictures >= 10);
  REQUIRE(size.pictures <= 11);
  const int before = pictures.total();
  read(loader, loader.batches_per_epoch());
  const int again = pictures.total() - before;
  CHECK(again <= kPictures - size.pictures + 1);  // one draw may stand in for the broken one
  CHECK(again >= kPictures - size.pictures);
  CHECK(loader.cache().size().pictures == size.pictures);
}

TEST_CASE("A budget of 0 keeps nothing", "[cache]") {
  CountedSet pictures;
  const DecodedCache cache(pictures.set, 0);
  CHECK(*cache.picture(3) == *cache.picture(3));
  CHECK(pictures.decoded[3] == 2);
  CHECK(cache.size().pictures == 0);
}

TEST_CASE("Sets that gain nothing are not kept: endless ones, those in memory", "[cache]") {
  const auto endless = std::make_shared<BuiltinDataset>(10, true, PictureStream::kTraining, 8, 8);
  const auto drawn = std::make_shared<BuiltinDataset>(10, false, PictureStream::kTraining, 8, 8);
  CHECK(DecodedCache(endless, kAmple).budget() == 0);
  CHECK(DecodedCache(drawn, kAmple).budget() == kAmple);
  class InMemory : public MadeDataset {
   public:
    InMemory() : MadeDataset(3, [](int64_t i) { return numbered_picture(i, 4, 4); }) {}
    bool in_memory() const override { return true; }
  };
  const auto subset =
      std::make_shared<SubsetDataset>(std::make_shared<InMemory>(), std::vector<int64_t>{1, 2});
  CHECK(DecodedCache(subset, kAmple).budget() == 0);
}

TEST_CASE("Many threads get the same pictures, whoever decodes them", "[cache]") {
  CountedSet pictures;
  const DecodedCache cache(pictures.set, kAmple);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t k = 0; k < 4 * kPictures; ++k) {
        const int64_t i = (k * 7 + t * 13) % kPictures;
        if (i != 17) wrong += *cache.picture(i) != numbered_picture(i, 20, 30);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(cache.size().pictures == kPictures - 1);
}

}  // namespace tessera
