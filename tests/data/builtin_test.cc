// The built-in pictures: pure functions of their number, labels that are true, contrast and detail
// like a photograph's.
#include "data/builtin.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <thread>

#include "data/transforms.h"

namespace tessera {
namespace {

BuiltinDataset set_of(int height, int width, PictureStream stream = PictureStream::kTraining,
                      uint64_t seed = 0) {
  return BuiltinDataset(1000, true, stream, height, width, seed);
}

double mean_difference(const Image& a, const Image& b) {
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

}  // namespace

TEST_CASE("Picture i is the same from any thread and any set", "[builtin]") {
  const BuiltinDataset set = set_of(32, 32);
  std::vector<Image> first(8), second(8);
  std::thread other([&] {
    for (int i = 7; i >= 0; --i) second[i] = set_of(32, 32).picture(i);
  });
  for (int i = 0; i < 8; ++i) first[i] = set.picture(i);
  other.join();
  CHECK(first == second);
  CHECK(set.labelled_picture(3).image == first[3]);
  CHECK_FALSE(first[0] == first[1]);
}

TEST_CASE("Seeds and streams share no picture", "[builtin]") {
  const Image picture = set_of(16, 16).picture(5);
  CHECK(mean_difference(picture, set_of(16, 16, PictureStream::kHeldOut).picture(5)) > 1);
  CHECK(mean_difference(picture, set_of(16, 16, PictureStream::kTraining, 1).picture(5)) > 1);
  CHECK_THROWS(set_of(16, 16).picture(-1));
  CHECK_THROWS(set_of(16, 16).picture(int64_t{1} << 31));
}

TEST_CASE("Every size shows the same view; width need be no multiple of anything", "[builtin]") {
  for (int64_t i = 0; i < 20; ++i) {
    const Image large = set_of(64, 64).picture(i), small = set_of(32, 32).picture(i);
    CHECK(mean_difference(resize(large, 32, 32, Interpolation::kBox), small) < 8);
  }
  const LabelledPicture odd = set_of(19, 37).labelled_picture(2);
  CHECK(odd.image.width == 37);
  CHECK(odd.image.height == 19);
  CHECK(odd.classes.pixels.size() == 19 * 37);
}

TEST_CASE("The label is the class of the largest thing in the label map", "[builtin]") {
  const BuiltinDataset set = set_of(32, 32);
  const size_t kinds = set.class_names().size();
  REQUIRE(kinds == 10);
  REQUIRE(builtin_pixel_classes().size() == 14);
  int largest = 0;
  std::vector<int> of_class(kinds);
  constexpr int kPictures = 400;
  for (int64_t i = 0; i < kPictures; ++i) {
    const LabelledPicture p = set.labelled_picture(i);
    REQUIRE(p.label == set.label(i));
    ++of_class[p.label];
    std::vector<int> area(builtin_pixel_classes().size());
    for (uint8_t c : p.classes.pixels) ++area.at(c);
    size_t best = 0;
    for (size_t c = 1; c < kinds; ++c) {
      if (area[c] > area[best]) best = c;
    }
    largest += static_cast<int64_t>(best) == p.label;
    CHECK(area[p.label] > 20);
  }
  CHECK(largest > 0.97 * kPictures);
  for (int n : of_class) CHECK(n > 15);  // 40 expected
}

TEST_CASE("Contrast and spectrum are those of small photographs", "[builtin]") {
  // CIFAR-10: standard deviation within a picture 0.20, neighbours differ by 0.056 on average,
  // pixels eight apart by 0.15: neither flat nor noise.
  const BuiltinDataset set = set_of(32, 32);
  double deviation = 0, near = 0, far = 0;
  constexpr int kPictures = 300;
  for (int64_t i = 0; i < kPictures; ++i) {
    const Image grey = grayscale(set.picture(i), 1);
    double sum = 0, square = 0, next = 0, eighth = 0;
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 32; ++x) {
        const double v = grey.at(y, x, 0) / 255.0;
        sum += v;
        square += v * v;
        if (x + 1 < 32) next += std::abs(v - grey.at(y, x + 1, 0) / 255.0) / (31 * 32);
        if (x + 8 < 32) eighth += std::abs(v - grey.at(y, x + 8, 0) / 255.0) / (24 * 32);
      }
    }
    deviation += std::sqrt(std::max(square / 1024 - sum * sum / (1024 * 1024), 0.0)) / kPictures;
    near += next / kPictures;
    far += eighth / kPictures;
  }
  INFO("deviation " << deviation << ", neighbours " << near << ", eight apart " << far);
  CHECK(deviation > 0.12);
  CHECK(deviation < 0.26);
  CHECK(near > 0.025);
  CHECK(near < 0.08);
  CHECK(far > 2 * near);
}

}  // namespace tessera
