// RandAugment: every operation is the transform its name says, as strong as it should be, and the
// draw is uniform and a function of its stream.
#include "data/rand_augment.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "data/augment.h"
#include "data/decode.h"
#include "data/transforms.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

Image input() { return read_image(test_file("transform_input.png")); }  // 61 x 45

size_t named(const std::string& name) {
  const auto& names = rand_augment_operations();
  const auto it = std::find(names.begin(), names.end(), name);
  REQUIRE(it != names.end());
  return static_cast<size_t>(it - names.begin());
}

Image apply(const std::string& name, double strength, bool negative = false) {
  return apply_operation(named(name), input(), strength, negative, 77);
}

}  // namespace

TEST_CASE("Each operation is its transform at the strength asked for", "[rand_augment]") {
  const Image x = input();
  CHECK(rand_augment_operations().size() == 15);
  CHECK(apply("auto_contrast", 0.9) == autocontrast(x));
  CHECK(apply("equalize", 0.9) == equalize(x));
  CHECK(apply("invert", 0.9) == invert(x));
  CHECK(apply("rotate", 0.5) == rotate(x, 15, Interpolation::kBilinear, 77));
  CHECK(apply("rotate", 0.5, true) == rotate(x, -15, Interpolation::kBilinear, 77));
  CHECK(apply("posterize", 0) == posterize(x, 4));
  CHECK(apply("posterize", 0.9) == posterize(x, 1));  // 4 - int(3.6)
  CHECK(apply("solarize", 0) == x);
  CHECK(apply("solarize", 0.9) == solarize(x, 26));  // 256 - int(230.4)
  CHECK(apply("solarize_add", 0.9) == solarize_add(x, 99));
  CHECK(apply("color", 0.5) == adjust_saturation(x, 1.45));
  CHECK(apply("color", 0.5, true) == adjust_saturation(x, 0.55));
  CHECK(apply("contrast", 0.5) == adjust_contrast(x, 1.45));
  CHECK(apply("brightness", 0.5, true) == adjust_brightness(x, 0.55));
  CHECK(apply("sharpness", 1) == adjust_sharpness(x, 1.9));
  for (const char* name : {"rotate", "color", "contrast", "brightness", "sharpness", "shear_x",
                           "shear_y", "translate_x", "translate_y"}) {
    INFO(name);
    CHECK(apply(name, 0) == x);
    CHECK_FALSE(apply(name, 0.8) == apply(name, 0.8, true));
  }
}

TEST_CASE("Shear and translation move pixels where they should", "[rand_augment]") {
  // 0.45 * 20 = 9 columns, 0.45 * 40 = 18 rows: whole pixels, so nothing is blurred.
  Image x(20, 40, 1);
  for (size_t i = 0; i < x.pixels.size(); ++i) x.pixels[i] = static_cast<uint8_t>(i % 251);
  const Image left = apply_operation(named("translate_x"), x, 1, false, 77);
  CHECK(left.at(5, 2, 0) == x.at(5, 11, 0));
  CHECK(left.at(5, 11, 0) == 77);
  const Image down = apply_operation(named("translate_y"), x, 1, true, 77);
  CHECK(down.at(20, 3, 0) == x.at(2, 3, 0));
  CHECK(down.at(17, 3, 0) == 77);
  // A column becomes a slanted line: 0.3 columns for each row, at 20 rows six.
  Image column(40, 40, 1);
  for (int y = 0; y < 40; ++y) column.at(y, 20, 0) = 200;
  const Image slanted = apply_operation(named("shear_x"), column, 1, false, 0);
  for (const int y : {0, 10, 30}) {
    int brightest = 0;
    for (int c = 1; c < 40; ++c) {
      if (slanted.at(y, c, 0) > slanted.at(y, brightest, 0)) brightest = c;
    }
    CHECK(brightest == Approx(20 - 0.3 * y).margin(1));
  }
  Image row(40, 40, 1);
  for (int c = 0; c < 40; ++c) row.at(20, c, 0) = 200;
  const Image sloping = apply_operation(named("shear_y"), row, 1, true, 0);
  for (const int c : {0, 10, 30}) {
    int brightest = 0;
    for (int y = 1; y < 40; ++y) {
      if (sloping.at(y, c, 0) > sloping.at(brightest, c, 0)) brightest = y;
    }
    CHECK(brightest == Approx(20 + 0.3 * c).margin(1));
  }
}

TEST_CASE("A draw is a function of its stream, and nothing depends on what was not applied",
          "[rand_augment]") {
  const Image x = input();
  for (int i = 0; i < 20; ++i) {
    PhiloxStream a = stream_at(1, 0, kSiteAugment, i), b = a, c = a;
    CHECK(rand_augment(x, {}, a) == rand_augment(x, {}, b));
    CHECK(rand_augment(x, {.probability = 0}, c) == x);
    CHECK(a.bits() == c.bits());  // the same number of draws
  }
}

TEST_CASE("Operations are drawn alike, and applied as often as asked", "[rand_augment]") {
  const Image x = adjust_contrast(input(), 0.6);  // so that no operation leaves it as it is
  const auto bytes_of = [](const Image& i) {
    return std::string(i.pixels.begin(), i.pixels.end());
  };
  std::map<std::string, std::string> known;  // what one fixed strength makes of x
  for (size_t i = 0; i < rand_augment_operations().size(); ++i) {
    for (const bool negative : {false, true}) {
      known[bytes_of(apply_operation(i, x, 0.5, negative))] = rand_augment_operations()[i];
    }
  }
  std::map<std::string, int> counts;
  const RandAugment options = {.operations = 1, .probability = 0.5, .magnitude = 5, .deviation = 0};
  for (int i = 0; i < 3000; ++i) {
    PhiloxStream random = stream_at(2, 0, kSiteAugment, i);
    const Image out = rand_augment(x, options, random);
    if (out == x) {
      ++counts["none"];
    } else {
      REQUIRE(known.contains(bytes_of(out)));
      ++counts[known[bytes_of(out)]];
    }
  }
  CHECK(counts["none"] == Approx(1500).margin(5 * 27.4));
  for (const std::string& name : rand_augment_operations()) {
    INFO(name);
    CHECK(counts[name] == Approx(100).margin(5 * 9.9));  // 3000 / 2 / 15
  }
}

TEST_CASE("No operation of that number or strength", "[rand_augment]") {
  CHECK_FALSE(error_of([] { apply_operation(15, input(), 0.5, false); }).empty());
  CHECK_FALSE(error_of([] { apply_operation(0, input(), 1.5, false); }).empty());
}

}  // namespace tessera
