// Random draws: within bounds, of the promised distribution, functions of their stream alone.
#include "data/augment.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "data/decode.h"
#include "data/transforms.h"
#include "tests/data/fixtures.h"

namespace tessera {

TEST_CASE("Crops lie inside, with the promised area and shape", "[augment]") {
  double least = 1, most = 0, sum = 0;
  int wide = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    PhiloxStream random = stream_at(3, 0, kSiteAugment, i);
    const Region r = draw_crop(300, 400, {0.1, 0.5}, random);
    REQUIRE(r.top >= 0);
    REQUIRE(r.left >= 0);
    REQUIRE(r.top + r.height <= 300);
    REQUIRE(r.left + r.width <= 400);
    const double share = r.height * r.width / 120000.0, aspect = double(r.width) / r.height;
    CHECK(aspect > 0.74);
    CHECK(aspect < 1.35);
    wide += aspect > 1;
    least = std::min(least, share);
    most = std::max(most, share);
    sum += share;
  }
  CHECK(least == Approx(0.1).margin(0.01));
  CHECK(most == Approx(0.5).margin(0.01));
  CHECK(sum / kDraws == Approx(0.3).margin(0.01));  // uniform in area
  CHECK(wide / double(kDraws) == Approx(0.5).margin(0.03));
}

TEST_CASE("A picture too narrow for any crop gets its middle", "[augment]") {
  PhiloxStream random({1, 2, 3});
  const Region tall = draw_crop(1000, 10, {0.5, 1.0}, random);
  CHECK(tall.width == 10);
  CHECK(tall.height == 13);
  CHECK(tall.top == (1000 - 13) / 2);
  const Region flat = draw_crop(10, 1000, {0.5, 1.0}, random);
  CHECK(flat.height == 10);
  CHECK(flat.width == 13);
  const Region dot = draw_crop(1, 1, {0.2, 0.3}, random);
  CHECK(dot.height == 1);
  CHECK(dot.width == 1);
}

TEST_CASE("Streams differ by seed, epoch, site and position", "[augment]") {
  auto bits = [](uint64_t seed, int64_t epoch, RandomSite site, int64_t position) {
    return stream_at(seed, epoch, site, position).bits();
  };
  const std::set<uint32_t> seen = {
      bits(1, 2, kSiteAugment, 3), bits(2, 2, kSiteAugment, 3),
      bits(1, 3, kSiteAugment, 3), bits(1, 2, kSiteReplacement, 3),
      bits(1, 2, kSiteAugment, 4), bits(1, 2, kSiteAugment, 3 + (int64_t{1} << 32))};
  CHECK(seen.size() == 6);
  CHECK(bits(1, 2, kSiteAugment, 3) == bits(1, 2, kSiteAugment, 3));
}

TEST_CASE("Shifts reach every step up to the limit and none beyond", "[augment]") {
  std::set<std::pair<int, int>> seen;
  for (int i = 0; i < 500; ++i) {
    PhiloxStream random = stream_at(0, 0, kSiteAugment, i);
    const Shift s = draw_shift(2, random);
    seen.insert({s.dy, s.dx});
  }
  CHECK(seen.size() == 25);
  CHECK(seen.begin()->first == -2);
  CHECK(seen.rbegin()->second == 2);
}

TEST_CASE("ColorJitter: identity at zero, a function of its stream, in changing order",
          "[augment]") {
  const Image image = read_image(test_file("transform_input.png"));
  PhiloxStream random({1, 2, 3});
  CHECK(color_jitter(image, {}, random) == image);
  const ColorJitter jitter = {0.4, 0.4, 0.4, 0.1};
  std::vector<Image> seen;
  for (int i = 0; i < 4; ++i) {
    PhiloxStream a = stream_at(5, 0, kSiteAugment, i), b = a;
    seen.push_back(color_jitter(image, jitter, a));
    CHECK(seen.back() == color_jitter(image, jitter, b));
  }
  CHECK_FALSE(seen[0] == seen[1]);
  // Brightness alone is the plain transform by some factor from 0.6 to 1.4.
  PhiloxStream one({9, 9, 9});
  const Image bright = color_jitter(image, {.brightness = 0.4}, one);
  bool found = false;
  for (int k = 600; k <= 1400 && !found; ++k) {
    const Image want = adjust_brightness(image, k / 1000.0);
    int most = 0;
    for (size_t i = 0; i < want.pixels.size(); ++i) {
      most = std::max(most, std::abs(want.pixels[i] - bright.pixels[i]));
    }
    found = most <= 1;
  }
  CHECK(found);
}

}  // namespace tessera
