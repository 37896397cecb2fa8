// Mixing: label mass is kept, pictures hold what their targets say, draws have their distribution.
#include "data/mixing.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "data/augment.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

// Picture b is b everywhere.
Tensor numbered(int64_t batch, int64_t height = 6, int64_t width = 8) {
  std::vector<float> values(static_cast<size_t>(batch * 2 * height * width));
  const size_t each = values.size() / static_cast<size_t>(batch);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / each);
  return Tensor::from(values, {batch, 2, height, width});
}

}  // namespace

TEST_CASE("What a picture holds of each part is what its target says", "[mixing]") {
  const MixOptions options{.label_smoothing = 0};
  int cuts = 0, blends = 0;
  for (int i = 0; i < 200; ++i) {
    PhiloxStream random = stream_at(1, 0, kSiteAugment, i);
    const Mix mix = draw_mix(options, 6, 8, random);
    const bool cut = mix.box.height > 0 && mix.box.width > 0;
    (cut ? cuts : blends) += 1;
    const Tensor images = numbered(5);
    mix_images(mix, images.shape(), images.data<float>());
    const auto pixels = images.to_vector<float>();
    const auto targets = mixed_targets(mix, {0, 1, 2, 3, 4}, 5, 0).to_vector<float>();
    for (int b = 0; b < 5; ++b) {
      double mass = 0, expected = 0, mean = 0;
      for (int c = 0; c < 5; ++c) {
        CHECK(targets[b * 5 + c] >= 0);
        mass += targets[b * 5 + c];
        expected += c * targets[b * 5 + c];
      }
      for (int p = 0; p < 96; ++p) mean += pixels[b * 96 + p] / 96;
      CHECK(mass == Approx(1).epsilon(1e-6));
      CHECK(mean == Approx(expected).margin(1e-5));
      CHECK(targets[b * 5 + 4 - b] == Approx(b == 2 ? 1 : 1 - mix.share).margin(1e-6));
    }
  }
  CHECK(cuts > 60);
  CHECK(blends > 60);
}

TEST_CASE("A box is the partner's, pixel by pixel, and the rest one's own", "[mixing]") {
  Tensor images = numbered(2);
  mix_images({.share = 1 - 6.0 / 48, .box = {1, 3, 2, 3}}, images.shape(), images.data<float>());
  const auto pixels = images.to_vector<float>();
  for (int b = 0; b < 2; ++b) {
    for (int c = 0; c < 2; ++c) {
      for (int y = 0; y < 6; ++y) {
        for (int x = 0; x < 8; ++x) {
          const bool inside = y >= 1 && y < 3 && x >= 3 && x < 6;
          CHECK(pixels[((b * 2 + c) * 6 + y) * 8 + x] == (inside ? 1 - b : b));
        }
      }
    }
  }
}

TEST_CASE("Label smoothing spreads its mass over all classes", "[mixing]") {
  const auto t = mixed_targets({.share = 0.7, .box = {}}, {2, 0}, 4, 0.2).to_vector<float>();
  const std::vector<double> want = {0.05 + 0.8 * 0.3, 0.05, 0.05 + 0.8 * 0.7, 0.05,
                                    0.05 + 0.8 * 0.7, 0.05, 0.05 + 0.8 * 0.3, 0.05};
  for (size_t i = 0; i < want.size(); ++i) CHECK(t[i] == Approx(want[i]));
  const auto same = mixed_targets({.share = 0.7, .box = {}}, {1, 1}, 3, 0).to_vector<float>();
  CHECK(same == std::vector<float>{0, 1, 0, 0, 1, 0});
  CHECK_FALSE(error_of([] { mixed_targets({}, {0, 4}, 4, 0); }).empty());
  CHECK_FALSE(error_of([] { mixed_targets({}, {-1}, 4, 0); }).empty());
  CHECK_THROWS_AS(MixOptions{.label_smoothing = 1}.check(), UsageError);
}

TEST_CASE("Which kind of mixing is drawn, and that none can be", "[mixing]") {
  PhiloxStream random({1, 2, 3});
  const auto boxes = [&](const MixOptions& options) {
    int found = 0;
    for (int i = 0; i < 400; ++i) found += draw_mix(options, 32, 32, random).box.height > 0;
    return found;
  };
  CHECK(boxes({.cutmix_alpha = 0}) == 0);
  CHECK(boxes({.mixup_alpha = 0}) > 380);  // now and then the box has no pixel
  CHECK(boxes({.cutmix_probability = 0.5}) == Approx(195).margin(55));
  for (int i = 0; i < 50; ++i) {
    CHECK(draw_mix({.mixup_alpha = 0, .cutmix_alpha = 0}, 32, 32, random).share == 1);
    CHECK(draw_mix({.probability = 0}, 32, 32, random).share == 1);
  }
  const Tensor images = numbered(3);
  mix_images({}, images.shape(), images.data<float>());
  CHECK(images.to_vector<float>() == numbered(3).to_vector<float>());
  CHECK_FALSE(error_of([&] { draw_mix({.mixup_alpha = -1}, 8, 8, random); }).empty());
}

TEST_CASE("Beta's mean is a half, its variance that of the formula", "[mixing]") {
  for (const double alpha : {kLeastAlpha, 0.2, 0.8, 1.0, 2.0, 16.0, kLargestAlpha}) {
    INFO("alpha " << alpha);
    PhiloxStream random({7, 0, 1});
    double sum = 0, squares = 0;
    constexpr int kDraws = 40000;
    for (int i = 0; i < kDraws; ++i) {
      const double x = draw_beta(alpha, random);
      REQUIRE((x >= 0 && x <= 1));
      sum += x;
      squares += x * x;
    }
    const double mean = sum / kDraws;
    CHECK(mean == Approx(0.5).margin(0.01));
    const double variance = 1 / (4 * (2 * alpha + 1));
    CHECK(squares / kDraws - mean * mean == Approx(variance).epsilon(0.05));
  }
  // Nothing else is drawn from: it would take for ever or be no number.
  PhiloxStream random({7, 0, 1});
  for (const double alpha : {0.0, -1.0, 1e-15, 1e6, double(INFINITY), double(NAN)}) {
    INFO("alpha " << alpha);
    CHECK_FALSE(error_of([&] { draw_beta(alpha, random); }).empty());
    if (alpha == 0) continue;
    CHECK_THROWS_AS(MixOptions{.mixup_alpha = alpha}.check(), UsageError);
    CHECK_THROWS_AS(MixOptions{.cutmix_alpha = alpha}.check(), UsageError);
  }
}

TEST_CASE("Erasing: a rectangle of noise inside the picture, of the promised area", "[mixing]") {
  const RandomErasing options{.probability = 0.5, .min_aspect = 0.8};  // all shapes fit
  int erased = 0;
  double area = 0;
  for (int i = 0; i < 2000; ++i) {
    PhiloxStream random = stream_at(3, 0, kSiteAugment, i);
    const Region r = draw_erasure(options, 32, 48, random);
    if (r.height == 0) continue;
    ++erased;
    REQUIRE((r.top >= 0 && r.left >= 0 && r.top + r.height <= 32 && r.left + r.width <= 48));
    area += double(r.height) * r.width / (32 * 48);
  }
  CHECK(erased == Approx(1000).margin(5 * 22.4));
  CHECK(area / erased == Approx((0.02 + 1.0 / 3) / 2).margin(0.012));

  std::vector<float> planes(3 * 40 * 50, 9);
  PhiloxStream random({5, 0, 1});
  const Region box = {4, 7, 20, 30};
  erase(box, 3, 40, 50, planes.data(), random);
  double sum = 0, squares = 0;
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < 40; ++y) {
      for (int x = 0; x < 50; ++x) {
        const float v = planes[(c * 40 + y) * 50 + x];
        const bool inside = y >= 4 && y < 24 && x >= 7 && x < 37;
        CHECK((v == 9) != inside);
        if (!inside) continue;
        sum += v;
        squares += double(v) * v;
      }
    }
  }
  CHECK(sum / 1800 == Approx(0).margin(0.1));
  CHECK(squares / 1800 == Approx(1).margin(0.15));
}

}  // namespace tessera
