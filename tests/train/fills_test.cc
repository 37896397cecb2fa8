// The classical fills against slow, literal readings of their definitions.
#include "train/fills.h"

#include <cmath>
#include <random>
#include <tuple>

#include "tests/train/temp_folder.h"

namespace tessera {
namespace {

struct Case {
  PictureSize size;
  std::vector<float> picture;   // (C, H, W)
  std::vector<uint8_t> hidden;  // (H, W)

  float at(const std::vector<float>& p, int64_t c, int64_t y, int64_t x) const {
    return p[static_cast<size_t>((c * size.height + y) * size.width + x)];
  }
  bool is_hidden(int64_t y, int64_t x) const {
    return hidden[static_cast<size_t>(y * size.width + x)] != 0;
  }
};

// Smooth waves with noise, `visible` of the patches shown (at least one).
Case random_case(PictureSize size, int64_t patch, double visible, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  Case made{size, {}, std::vector<uint8_t>(static_cast<size_t>(size.pixels()), 1)};
  for (int64_t c = 0; c < size.channels; ++c) {
    const float phase = 6 * uniform(random);
    for (int64_t y = 0; y < size.height; ++y) {
      for (int64_t x = 0; x < size.width; ++x) {
        const float wave =
            std::sin(phase + 0.2f * static_cast<float>(x) + 0.13f * static_cast<float>(y));
        made.picture.push_back(0.5f + 0.4f * wave + 0.1f * (uniform(random) - 0.5f));
      }
    }
  }
  bool first = true;
  for (int64_t py = 0; py < size.height / patch; ++py) {
    for (int64_t px = 0; px < size.width / patch; ++px) {
      if (!first && uniform(random) >= static_cast<float>(visible)) continue;
      first = false;
      for (int64_t y = 0; y < patch; ++y) {
        for (int64_t x = 0; x < patch; ++x) {
          made.hidden[static_cast<size_t>((py * patch + y) * size.width + px * patch + x)] = 0;
        }
      }
    }
  }
  return made;
}

std::vector<Case> cases() {
  return {random_case({3, 32, 32}, 4, 0.25, 1), random_case({1, 12, 20}, 4, 0.1, 2),
          random_case({5, 9, 7}, 1, 0.3, 3),    random_case({3, 16, 24}, 8, 0.2, 4),
          random_case({2, 1, 9}, 1, 0.2, 5),    random_case({3, 32, 32}, 4, 0.0, 6)};
}

TEST_CASE("every fill keeps what is visible and does not look at what is hidden") {
  for (const Case& c : cases()) {
    Case other = c;
    for (int64_t i = 0; i < std::ssize(other.picture); ++i) {
      if (c.hidden[static_cast<size_t>(i % c.size.pixels())])
        other.picture[static_cast<size_t>(i)] = 9;
    }
    for (const auto fill : {fill_mean, fill_nearest, fill_bilinear, fill_harmonic}) {
      const std::vector<float> filled = fill(c.picture, c.hidden, c.size);
      CHECK(filled == fill(other.picture, other.hidden, other.size));
      REQUIRE(filled.size() == c.picture.size());
      for (size_t i = 0; i < filled.size(); ++i) {
        if (!c.hidden[i % static_cast<size_t>(c.size.pixels())]) REQUIRE(filled[i] == c.picture[i]);
      }
    }
  }
}

TEST_CASE("mean fill is the mean of the visible pixels of each channel") {
  const Case c{{2, 1, 3}, {0.25f, 0.75f, 9, 1, 0, 9}, {0, 0, 1}};
  CHECK(fill_mean(c.picture, c.hidden, c.size) ==
        std::vector<float>{0.25f, 0.75f, 0.5f, 1, 0, 0.5f});
}

TEST_CASE("nearest fill takes the nearest pixel, the upper, then the left of equals") {
  for (const Case& c : cases()) {
    const std::vector<float> filled = fill_nearest(c.picture, c.hidden, c.size);
    for (int64_t y = 0; y < c.size.height; ++y) {
      for (int64_t x = 0; x < c.size.width; ++x) {
        if (!c.is_hidden(y, x)) continue;
        std::tuple<int64_t, int64_t, int64_t> best = {1 << 30, 0, 0};
        for (int64_t v = 0; v < c.size.height; ++v) {
          for (int64_t u = 0; u < c.size.width; ++u) {
            const int64_t distance = (v - y) * (v - y) + (u - x) * (u - x);
            if (!c.is_hidden(v, u)) best = std::min(best, std::tuple(distance, v, u));
          }
        }
        for (int64_t k = 0; k < c.size.channels; ++k) {
          REQUIRE(c.at(filled, k, y, x) ==
                  c.at(c.picture, k, std::get<1>(best), std::get<2>(best)));
        }
      }
    }
  }
}

TEST_CASE("bilinear fill weighs the four visible pixels along row and column") {
  for (const Case& c : cases()) {
    const std::vector<float> filled = fill_bilinear(c.picture, c.hidden, c.size);
    const std::vector<float> mean = fill_mean(c.picture, c.hidden, c.size);
    for (int64_t y = 0; y < c.size.height; ++y) {
      for (int64_t x = 0; x < c.size.width; ++x) {
        if (!c.is_hidden(y, x)) continue;
        for (int64_t k = 0; k < c.size.channels; ++k) {
          double sum = 0, weights = 0;
          for (const auto& [dy, dx] : {std::pair{0, -1}, {0, 1}, {-1, 0}, {1, 0}}) {
            for (int64_t d = 1;; ++d) {
              const int64_t v = y + d * dy, u = x + d * dx;
              if (v < 0 || v >= c.size.height || u < 0 || u >= c.size.width) break;
              if (c.is_hidden(v, u)) continue;
              sum += c.at(c.picture, k, v, u) / static_cast<double>(d);
              weights += 1 / static_cast<double>(d);
              break;
            }
          }
          const double expected = weights > 0 ? sum / weights : c.at(mean, k, y, x);
          REQUIRE(c.at(filled, k, y, x) == Approx(expected).epsilon(1e-6));
        }
      }
    }
  }
}

// Plain averaging in f64 until nothing moves: the exact solution.
std::vector<float> converged(const Case& c) {
  std::vector<double> u(c.picture.begin(), c.picture.end());
  const std::vector<float> start = fill_mean(c.picture, c.hidden, c.size);
  std::copy(start.begin(), start.end(), u.begin());
  for (double change = 1; change > 1e-12;) {
    change = 0;
    for (int64_t k = 0; k < c.size.channels; ++k) {
      double* p = u.data() + k * c.size.pixels();
      for (int64_t y = 0; y < c.size.height; ++y) {
        for (int64_t x = 0; x < c.size.width; ++x) {
          if (!c.is_hidden(y, x)) continue;
          double sum = 0;
          int count = 0;
          if (y > 0) sum += p[(y - 1) * c.size.width + x], ++count;
          if (x > 0) sum += p[y * c.size.width + x - 1], ++count;
          if (y + 1 < c.size.height) sum += p[(y + 1) * c.size.width + x], ++count;
          if (x + 1 < c.size.width) sum += p[y * c.size.width + x + 1], ++count;
          double& here = p[y * c.size.width + x];
          change = std::max(change, std::abs(sum / count - here));
          here = sum / count;
        }
      }
    }
  }
  return {u.begin(), u.end()};
}

TEST_CASE("harmonic fill solves its equation: each hidden pixel the mean of its neighbours") {
  for (const Case& c : cases()) {
    const std::vector<float> filled = fill_harmonic(c.picture, c.hidden, c.size);
    const std::vector<float> exact = converged(c);
    double furthest = 0;
    for (size_t i = 0; i < filled.size(); ++i) {
      furthest = std::max(furthest, std::abs(double{filled[i]} - double{exact[i]}));
    }
    CHECK(furthest < 1e-3);
    const double psnr = masked_psnr(c.picture, filled, c.hidden, c.size);
    CHECK(std::abs(psnr - masked_psnr(c.picture, exact, c.hidden, c.size)) < 0.01);
  }
}

TEST_CASE("harmonic fill of a plane with its rim visible is the plane") {
  const PictureSize size{1, 40, 30};
  Case c{size, {}, {}};
  for (int64_t y = 0; y < size.height; ++y) {
    for (int64_t x = 0; x < size.width; ++x) {
      c.picture.push_back(0.1f + 0.01f * static_cast<float>(x) + 0.012f * static_cast<float>(y));
      c.hidden.push_back(y > 0 && x > 0 && y + 1 < size.height && x + 1 < size.width);
    }
  }
  const std::vector<float> filled = fill_harmonic(c.picture, c.hidden, size);
  for (size_t i = 0; i < filled.size(); ++i) REQUIRE(std::abs(filled[i] - c.picture[i]) < 1e-3);
}

TEST_CASE("PSNR counts hidden pixels only, clips the guess, does not round and stops at 100 dB") {
  const PictureSize size{2, 1, 3};
  const std::vector<float> truth = {0.5f, 0.5f, 0.2f, 1, 0, 0.4f};
  const std::vector<uint8_t> hidden = {0, 1, 1};
  std::vector<float> guess = truth;
  guess[0] = 0;  // visible: does not count
  CHECK(masked_psnr(truth, guess, hidden, size) == 100);
  guess[1] = 0.6f, guess[2] = 0.3f, guess[4] = 0.1f, guess[5] = 0.5f;
  CHECK(masked_psnr(truth, guess, hidden, size) == Approx(20).epsilon(1e-6));
  guess = truth;
  guess[4] = -7;  // clipped to the truth
  CHECK(masked_psnr(truth, guess, hidden, size) == 100);
  guess[1] = 0.5f + 1e-4f;
  CHECK(masked_psnr(truth, guess, hidden, size) == Approx(80 + 10 * std::log10(4)).epsilon(1e-4));
  guess[1] = 0.5f + 1e-7f;
  CHECK(masked_psnr(truth, guess, hidden, size) == 100);
}

TEST_CASE("sizes that do not fit and masks without either kind are refused") {
  const std::vector<float> picture(12);
  const std::vector<uint8_t> none(4, 0), all(4, 1), some = {0, 1, 1, 1}, few = {0, 1};
  for (const auto fill : {fill_mean, fill_nearest, fill_bilinear, fill_harmonic}) {
    CHECK_THROWS_AS(fill(picture, none, {3, 2, 2}), Error);
    CHECK_THROWS_AS(fill(picture, all, {3, 2, 2}), Error);
    CHECK_THROWS_AS(fill(picture, few, {3, 2, 2}), Error);
    CHECK_THROWS_AS(fill(picture, some, {2, 2, 2}), Error);
  }
  CHECK_THROWS_AS(masked_psnr(picture, picture, none, {3, 2, 2}), Error);
  CHECK_THROWS_AS(masked_psnr(picture, std::vector<float>(3), some, {3, 2, 2}), Error);
}

}  // namespace
}  // namespace tessera
