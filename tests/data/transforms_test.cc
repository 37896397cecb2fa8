// Transforms against formulas written out and against what must not change anything. Pillow's own
// results, to the level, are in tests/golden/transforms.safetensors; here (files/transform_*.png,
// written by Pillow 9.4) is the little that they lack.
#include "data/transforms.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "data/decode.h"
#include "engine/philox.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

Image input() { return read_image(test_file("transform_input.png")); }  // 61 x 45

Image noise(int height, int width, int channels, uint64_t seed) {
  Image image(width, height, channels);
  PhiloxStream random({seed, 0, 0});
  for (uint8_t& v : image.pixels) v = static_cast<uint8_t>(random.below(256));
  return image;
}

// One pass of Pillow's bicubic resampling, written out: the pictures' `at` of line i, for each
// output line. Lines are columns or rows.
struct Taps {
  int first;
  std::vector<int64_t> weights;
};

std::vector<Taps> bicubic_taps(int in_size, int out_size) {
  auto keys = [](double x) {
    x = std::abs(x);
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0.0;
  };
  const double scale = double(in_size) / out_size, wide = std::max(scale, 1.0);
  std::vector<Taps> all(out_size);
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(int(center - 2 * wide + 0.5), 0);
    const int last = std::min(int(center + 2 * wide + 0.5), in_size);
    double sum = 0;
    for (int t = first; t < last; ++t) sum += keys((t - center + 0.5) * (1.0 / wide));
    all[i].first = first;
    for (int t = first; t < last; ++t) {
      const double w = keys((t - center + 0.5) * (1.0 / wide)) / sum * (1 << 22);
      all[i].weights.push_back(int64_t(w < 0 ? w - 0.5 : w + 0.5));
    }
  }
  return all;
}

uint8_t weighted(const Taps& taps, const std::function<int(int)>& at) {
  int64_t sum = 1 << 21;
  for (size_t t = 0; t < taps.weights.size(); ++t) sum += taps.weights[t] * at(taps.first + int(t));
  return uint8_t(std::clamp<int64_t>(sum >> 22, 0, 255));
}

Image plain_bicubic(const Image& image, const Region& box, int height, int width) {
  Image rows(width, box.height, image.channels), out(width, height, image.channels);
  const std::vector<Taps> across = bicubic_taps(box.width, width);
  const std::vector<Taps> down = bicubic_taps(box.height, height);
  for (int c = 0; c < image.channels; ++c) {
    for (int x = 0; x < width; ++x) {
      for (int y = 0; y < box.height; ++y) {
        rows.at(y, x, c) =
            weighted(across[x], [&](int t) { return image.at(box.top + y, box.left + t, c); });
      }
      for (int y = 0; y < height; ++y) {
        out.at(y, x, c) = weighted(down[y], [&](int t) { return rows.at(t, x, c); });
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("A box filter, and a turned oblong's corners filled, equal Pillow's", "[transforms]") {
  CHECK(resize(input(), 17, 31, Interpolation::kBox) ==
        read_image(test_file("transform_resize_box.png")));
  CHECK(rotate(input(), 17.5, Interpolation::kNearest, 9) ==
        read_image(test_file("transform_rotate_nearest.png")));
}

TEST_CASE("Resampling is the sum written out, at every width and reduction", "[transforms]") {
  // Groups of 4 pixels, registers of 32 bytes, pairs of rows and of taps: all with a remainder of
  // any kind. Noise reaches both ends of the range, where sums are clipped.
  for (int channels : {1, 3}) {
    const Image image = noise(67, 151, channels, 5);
    for (const Region& box :
         {Region{0, 0, 67, 151}, {3, 50, 64, 101}, {66, 7, 1, 2}, {5, 150, 8, 1}}) {
      for (int width : {1, 2, 3, 4, 5, 7, 10, 11, 12, 31, 32, 33, 64, 86, 160}) {
        const int height = 1 + width * 7 % 90;
        INFO(channels << " channels, " << box.width << " x " << box.height << " to " << width
                      << " x " << height);
        CHECK(resize_region(image, box, height, width, Interpolation::kBicubic) ==
              plain_bicubic(image, box, height, width));
      }
    }
  }
  const Image strip = noise(3, 9001, 3, 6);  // 9,001 taps: halves of sums leave 32 bits
  CHECK(resize(strip, 2, 1, Interpolation::kBicubic) ==
        plain_bicubic(strip, {0, 0, 3, 9001}, 2, 1));
}

TEST_CASE("What lies outside a region has no influence", "[transforms]") {
  const Image image = input();
  const Region box = {5, 9, 28, 33};
  Image changed(image.width, image.height, 3);
  for (int y = box.top; y < box.top + box.height; ++y) {
    for (int x = box.left; x < box.left + box.width; ++x) {
      for (int c = 0; c < 3; ++c) changed.at(y, x, c) = image.at(y, x, c);
    }
  }
  for (auto [h, w] : {std::pair{26, 24}, {28, 24}, {26, 33}, {28, 33}, {90, 80}}) {
    CHECK(resize_region(image, box, h, w, Interpolation::kBicubic) ==
          resize_region(changed, box, h, w, Interpolation::kBicubic));
  }
}

TEST_CASE("A grey picture is transformed as the three equal channels are", "[transforms]") {
  const Image grey = grayscale(input(), 1), triple = grayscale(input(), 3);
  for (auto i : {Interpolation::kNearest, Interpolation::kBicubic}) {
    CHECK(grayscale(resize(grey, 20, 30, i), 3) == resize(triple, 20, 30, i));
  }
  CHECK(grayscale(rotate(grey, 30, Interpolation::kBilinear), 3) ==
        rotate(triple, 30, Interpolation::kBilinear));
  CHECK(grayscale(adjust_contrast(grey, 1.5), 3) == adjust_contrast(triple, 1.5));
  CHECK(adjust_hue(grey, 0.2) == grey);
}

TEST_CASE("Flips, right angles and neutral factors", "[transforms]") {
  const Image image = input();
  CHECK(hflip(image).at(3, 0, 1) == image.at(3, 60, 1));
  CHECK(hflip(hflip(image)) == image);
  CHECK(rotate(image, 360, Interpolation::kNearest) == image);
  const Image turned = rotate(image, 180, Interpolation::kNearest);
  CHECK(turned.at(0, 0, 0) == image.at(44, 60, 0));
  CHECK(rotate(turned, -180, Interpolation::kNearest) == image);
  CHECK(adjust_brightness(image, 1) == image);
  CHECK(adjust_contrast(image, 1) == image);
  CHECK(adjust_saturation(image, 1) == image);
}

TEST_CASE("Level by level", "[transforms]") {
  const Image image = input();
  CHECK(posterize(image, 8) == image);
  CHECK(posterize(image, 3).at(7, 5, 1) == (image.at(7, 5, 1) & 0xe0));
  CHECK(posterize(image, 0) == Image(image.width, image.height, 3));
  CHECK(solarize(image, 256) == image);
  CHECK(solarize(image, 0) == invert(image));
  CHECK(invert(invert(image)) == image);
  const Image four = [] {
    Image i(4, 1, 1);
    i.pixels = {10, 127, 128, 250};
    return i;
  }();
  CHECK(solarize(four, 128).pixels == std::vector<uint8_t>{10, 127, 127, 5});
  CHECK(solarize_add(four, 110).pixels == std::vector<uint8_t>{120, 237, 128, 250});
  CHECK(solarize_add(four, 200).pixels == std::vector<uint8_t>{210, 255, 128, 250});
  CHECK(autocontrast(four).pixels == std::vector<uint8_t>{0, 124, 125, 255});
  // One level alone stays as it is, and so does a picture of fewer than 255 pixels.
  const Image flat = adjust_brightness(image, 0);
  CHECK(autocontrast(flat) == flat);
  CHECK(equalize(flat) == flat);
  CHECK(equalize(four) == four);
}

TEST_CASE("Equalizing follows Pillow's count of what lies below a level", "[transforms]") {
  Image ramps(64, 64, 3);  // 64 levels of 64 pixels; levels of growing frequency; one level
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      ramps.at(y, x, 0) = static_cast<uint8_t>(100 + y);
      ramps.at(y, x, 1) = static_cast<uint8_t>(8 * static_cast<int>(std::sqrt(x)));
      ramps.at(y, x, 2) = 9;
    }
  }
  const Image even = equalize(ramps);
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      // The step is (4096 - 64) / 255 = 15, and half a step comes first.
      REQUIRE(even.at(y, x, 0) == std::min(255, (7 + 64 * y) / 15));
      // sqrt(x) >= r from x = r^2 on: r^2 columns below; (4096 - 15 * 64) / 255 = 12.
      const int r = static_cast<int>(std::sqrt(x));
      REQUIRE(even.at(y, x, 1) == std::min(255, (6 + 64 * r * r) / 12));
      REQUIRE(even.at(y, x, 2) == 9);
    }
  }
}

TEST_CASE("Sharpness: 0 smooths, 1 changes nothing, more takes away what is smooth",
          "[transforms]") {
  Image dot(5, 5, 1);
  dot.at(2, 2, 0) = 130;
  const Image smooth = adjust_sharpness(dot, 0);
  CHECK(smooth.at(2, 2, 0) == 50);
  CHECK(smooth.at(1, 1, 0) == 10);
  CHECK(smooth.at(0, 0, 0) == 0);
  CHECK(adjust_sharpness(dot, 1) == dot);
  CHECK(adjust_sharpness(dot, 2).at(2, 2, 0) == 210);
  CHECK(adjust_sharpness(dot, 2).at(1, 1, 0) == 0);
  Image edge(5, 5, 1);
  edge.at(0, 2, 0) = 200;  // the outermost pixels stay
  CHECK(adjust_sharpness(edge, 0).at(0, 2, 0) == 200);
}

TEST_CASE("to_tensor_normalize: planes, scale, mean and deviation", "[transforms]") {
  const Image image = input();
  const std::vector<float> mean = {0.4f, 0.5f, 0.6f}, std = {0.2f, 0.3f, 0.4f};
  const std::vector<float> got = to_tensor_normalize(image, mean, std);
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        const float want = (image.at(y, x, c) / 255.0f - mean[c]) / std[c];
        REQUIRE(got[(c * image.height + y) * image.width + x] == want);
      }
    }
  }
}

TEST_CASE("A placement mirrors first, then moves; zeros move in from any side", "[transforms]") {
  const Image image = noise(5, 7, 3, 8);
  const std::vector<float> mean = {0.4f, 0.5f, 0.6f}, std = {0.2f, 0.3f, 0.4f};
  const Normalizer normalize(mean, std);
  for (bool mirrored : {false, true}) {
    const std::vector<float> base = to_tensor_normalize(mirrored ? hflip(image) : image, mean, std);
    for (auto [dy, dx] : {std::pair{0, 0}, {1, -2}, {-4, 6}, {5, 0}, {0, 7}, {-9, -9}, {2, 30}}) {
      std::vector<float> got(base.size(), -1.0f);
      normalize(image, got.data(), {mirrored, dy, dx});
      for (int i = 0; i < int(got.size()); ++i) {
        const int x = i % 7 - dx, y = i / 7 % 5 - dy;
        const bool inside = x >= 0 && x < 7 && y >= 0 && y < 5;
        REQUIRE(got[i] == (inside ? base[(i / 35 * 5 + y) * 7 + x] : 0.0f));
      }
    }
  }
}

TEST_CASE("Arguments that make no sense are refused", "[transforms]") {
  const Image image = input();
  using I = Interpolation;
  CHECK_FALSE(error_of([&] { resize(image, 0, 5, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { resize_region(image, {40, 0, 6, 5}, 5, 5, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { resize_region(image, {0, -1, 6, 5}, 5, 5, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { rotate(image, 10, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { adjust_brightness(image, -0.1); }).empty());
  CHECK_FALSE(error_of([&] { adjust_hue(image, 0.6); }).empty());
  CHECK_FALSE(error_of([&] { adjust_sharpness(image, -0.1); }).empty());
  CHECK_FALSE(error_of([&] { posterize(image, 9); }).empty());
  CHECK_FALSE(error_of([&] { solarize(image, 257); }).empty());
  CHECK_FALSE(error_of([&] { center_crop(image, 0); }).empty());
  const std::vector<float> one = {1};
  CHECK_FALSE(error_of([&] { to_tensor_normalize(image, one, one); }).empty());
  CHECK_THAT(error_of([] { interpolation_from_name("cubic"); }),
             Catch::Matchers::Contains("cubic"));
}

}  // namespace tessera
