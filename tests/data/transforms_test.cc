// Transforms against Pillow's own results (files/transform_*.png, written by Pillow 9.4), to the
// level.
#include "data/transforms.h"

#include <catch2/catch.hpp>
#include <functional>

#include "data/decode.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

Image input() { return read_image(test_file("transform_input.png")); }  // 61 x 45

}  // namespace

TEST_CASE("Every transform equals Pillow's", "[transforms]") {
  using I = Interpolation;
  struct Case {
    const char* name;
    std::function<Image(const Image&)> apply;
  };
  const std::vector<Case> cases = {
      {"resize_nearest", [](const Image& i) { return resize(i, 17, 31, I::kNearest); }},
      {"resize_box", [](const Image& i) { return resize(i, 17, 31, I::kBox); }},
      {"resize_bilinear", [](const Image& i) { return resize(i, 17, 31, I::kBilinear); }},
      {"resize_bicubic", [](const Image& i) { return resize(i, 17, 31, I::kBicubic); }},
      {"resize_lanczos", [](const Image& i) { return resize(i, 17, 31, I::kLanczos); }},
      {"resize_larger", [](const Image& i) { return resize(i, 58, 70, I::kBicubic); }},
      {"resize_shorter_side",
       [](const Image& i) { return resize_shorter_side(i, 20, I::kBicubic); }},
      {"resized_crop",
       [](const Image& i) {
         return resized_crop(i, 5, 9, 28, 33, {26, 24}, I::kBicubic);
       }},
      {"center_crop", [](const Image& i) { return center_crop(i, 29, 31); }},
      {"center_crop_larger", [](const Image& i) { return center_crop(i, 50, 51); }},
      {"rotate_nearest", [](const Image& i) { return rotate(i, 17.5, I::kNearest, 9); }},
      {"rotate_bilinear", [](const Image& i) { return rotate(i, -33, I::kBilinear); }},
      {"brightness_0.6", [](const Image& i) { return adjust_brightness(i, 0.6); }},
      {"brightness_1.7", [](const Image& i) { return adjust_brightness(i, 1.7); }},
      {"contrast_1.4", [](const Image& i) { return adjust_contrast(i, 1.4); }},
      {"saturation_0.3", [](const Image& i) { return adjust_saturation(i, 0.3); }},
      {"saturation_2", [](const Image& i) { return adjust_saturation(i, 2); }},
      {"hue_-0.1", [](const Image& i) { return adjust_hue(i, -0.1); }},
      {"hue_0.37", [](const Image& i) { return adjust_hue(i, 0.37); }},
      {"grayscale", [](const Image& i) { return grayscale(i, 3); }},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const Image want = read_image(test_file(std::string("transform_") + c.name + ".png"));
    const Image got = c.apply(input());
    REQUIRE(got.width == want.width);
    REQUIRE(got.height == want.height);
    CHECK(got.pixels == want.pixels);
  }
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

TEST_CASE("Arguments that make no sense are refused", "[transforms]") {
  const Image image = input();
  using I = Interpolation;
  CHECK_FALSE(error_of([&] { resize(image, 0, 5, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { resize_region(image, {40, 0, 6, 5}, 5, 5, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { resize_region(image, {0, -1, 6, 5}, 5, 5, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { rotate(image, 10, I::kBicubic); }).empty());
  CHECK_FALSE(error_of([&] { adjust_brightness(image, -0.1); }).empty());
  CHECK_FALSE(error_of([&] { adjust_hue(image, 0.6); }).empty());
  CHECK_FALSE(error_of([&] { center_crop(image, 0); }).empty());
  const std::vector<float> one = {1};
  CHECK_FALSE(error_of([&] { to_tensor_normalize(image, one, one); }).empty());
  CHECK_THAT(error_of([] { interpolation_from_name("cubic"); }),
             Catch::Matchers::Contains("cubic"));
}

}  // namespace tessera
