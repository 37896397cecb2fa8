// Block-wise masks: functions of their key, rectangles only, never above the target. How often each
// patch is masked is held to the reference's statistics in tests/golden/block_masks.cc.
#include "models/block_masks.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "engine/raw.h"
#include "models/masks.h"

namespace tessera {
namespace {

int64_t count_of(const std::vector<uint8_t>& mask) {
  return std::count(mask.begin(), mask.end(), 1);
}

std::vector<uint8_t> values_of(const Tensor& mask) {
  return raw::to(mask, DType::kU8).to_vector<uint8_t>();
}

TEST_CASE("a key names the masks, and each picture of a step has its own") {
  const BlockMaskOptions options{.grid = {8, 8}, .target = 26, .min_block = 4};
  const auto masks = values_of(block_masks(50, options, 1, 7));
  CHECK(masks == values_of(block_masks(50, options, 1, 7)));
  CHECK(masks != values_of(block_masks(50, options, 1, 8)));
  CHECK(masks != values_of(block_masks(50, options, 2, 7)));
  // Picture b's mask does not depend on how many follow it.
  const auto fewer = values_of(block_masks(20, options, 1, 7));
  CHECK(std::equal(fewer.begin(), fewer.end(), masks.begin()));
  std::set<std::vector<uint8_t>> different;
  for (int b = 0; b < 50; ++b) {
    different.insert({masks.begin() + 64 * b, masks.begin() + 64 * (b + 1)});
  }
  CHECK(different.size() == 50);
}

TEST_CASE("counts stay at or below the target, and are it when asked to be") {
  BlockMaskOptions options{.grid = {14, 14}};  // 75 of 196, blocks from 16 on
  int below = 0;
  for (int i = 0; i < 500; ++i) {
    PhiloxStream random = stream_at({3, 0, kSiteMask}, i), again = random;
    options.exact = false;
    const auto mask = draw_block_mask(options, random);
    CHECK(count_of(mask) <= 75);
    below += count_of(mask) < 75;
    options.exact = true;
    const auto full = draw_block_mask(options, again);
    CHECK(count_of(full) == 75);
    for (size_t p = 0; p < mask.size(); ++p) CHECK(full[p] >= mask[p]);  // only filled up
  }
  CHECK(below > 50);
  CHECK(below < 450);
}

// Height and width of what a mask covers, all of it masked.
std::pair<int64_t, int64_t> rectangle_of(const std::vector<uint8_t>& mask, const Grid& grid) {
  int64_t top = grid.rows, bottom = -1, left = grid.columns, right = -1;
  for (int64_t p = 0; p < grid.patches(); ++p) {
    if (mask[p] == 0) continue;
    top = std::min(top, p / grid.columns);
    bottom = std::max(bottom, p / grid.columns);
    left = std::min(left, p % grid.columns);
    right = std::max(right, p % grid.columns);
  }
  const int64_t height = bottom - top + 1, width = right - left + 1;
  return height * width == count_of(mask) ? std::pair{height, width}
                                          : std::pair{int64_t{0}, int64_t{0}};
}

TEST_CASE("a block is a rectangle that leaves a row and a column") {
  // Twelve patches at once: 3 x 4 and 4 x 3 fit 6 x 9. In 3 x 9 a block has at most two rows, so
  // that it is at least five columns wide.
  BlockMaskOptions options{.grid = {6, 9}, .target = 12, .min_block = 12, .min_aspect = 0.5};
  int squarish = 0, flat = 0;
  for (int i = 0; i < 300; ++i) {
    PhiloxStream random = stream_at({4, 0, kSiteMask}, i);
    const auto [height, width] = rectangle_of(draw_block_mask(options, random), options.grid);
    squarish += (height == 3 && width == 4) || (height == 4 && width == 3);
  }
  CHECK(squarish > 100);
  options.grid = {3, 9};
  options.min_aspect = 0.3;
  for (int i = 0; i < 300; ++i) {
    PhiloxStream random = stream_at({5, 0, kSiteMask}, i);
    const auto [height, width] = rectangle_of(draw_block_mask(options, random), options.grid);
    CHECK_FALSE((height == 3 && width == 4));
    flat += height == 2 && width == 6;
  }
  CHECK(flat > 50);
}

TEST_CASE("max_block bounds what a block adds") {
  BlockMaskOptions options{.grid = {14, 14}, .target = 4, .min_block = 1, .max_block = 1};
  PhiloxStream random({5, 0, kSiteMask});
  for (int i = 0; i < 100; ++i) CHECK(count_of(draw_block_mask(options, random)) <= 4);
  options.max_block = 0;
  options.min_block = 4;
  int whole = 0;
  for (int i = 0; i < 100; ++i) {
    const auto mask = draw_block_mask(options, random);
    const auto first = std::find(mask.begin(), mask.end(), 1) - mask.begin();
    whole += first + 15 < 196 && mask[first + 1] && mask[first + 14] && mask[first + 15];
  }
  CHECK(whole > 20);  // 2 x 2 blocks, which single patches hardly ever make
}

TEST_CASE("no picture stays empty where a first block seldom fits") {
  struct Case {
    BlockMaskOptions options;
    int64_t largest, at_least;  // patches of the largest block, of every mask
  };
  // All ten tries at a first block fail in a third to a half of the pictures.
  for (const auto& [options, largest, at_least] :
       {Case{{.grid = {2, 16}, .target = 12, .min_block = 3}, 5, 1},
        Case{{.grid = {16, 2}, .target = 12, .min_block = 3}, 5, 1},
        Case{{.grid = {4, 32}, .target = 49, .min_block = 30}, 36, 1},
        Case{{.grid = {8, 8}, .target = 57, .min_block = 49}, 49, 49},
        Case{{.grid = {2, 2}, .target = 1, .min_block = 1}, 1, 1}}) {
    CHECK(options.largest_block() == largest);
    options.check();
    int64_t least = options.grid.patches(), most = 0;
    for (int i = 0; i < 500; ++i) {
      PhiloxStream random = stream_at({6, 0, kSiteMask}, i), again = random;
      const auto mask = draw_block_mask(options, random);
      least = std::min(least, count_of(mask));
      most = std::max(most, count_of(mask));
      CHECK(mask == draw_block_mask(options, again));
    }
    INFO(options.grid.rows << " x " << options.grid.columns);
    CHECK(least >= at_least);
    CHECK(most <= options.target);
  }
}

TEST_CASE("the block of last resort lies anywhere") {
  // A square of 7 patches rounds to 3 x 3, which is too many, at every try: 2 x 2 is left.
  const BlockMaskOptions options{.grid = {8, 8}, .target = 7, .min_block = 7, .min_aspect = 1};
  std::set<int64_t> first;
  for (int i = 0; i < 500; ++i) {
    PhiloxStream random = stream_at({7, 0, kSiteMask}, i);
    const auto mask = draw_block_mask(options, random);
    CHECK(count_of(mask) >= 4);
    first.insert(std::find(mask.begin(), mask.end(), 1) - mask.begin());
  }
  CHECK(first.size() > 40);  // of 49 places
}

TEST_CASE("a target that cannot be met is refused with its values") {
  const auto refusal = [](const BlockMaskOptions& options) {
    try {
      block_masks(1, options, 1, 1);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK(refusal({.grid = {4, 4}, .target = 5, .min_block = 2}) == "accepted");
  CHECK_THAT(refusal({.grid = {4, 4}, .target = 16, .min_block = 2}), Catch::Contains("16 masked"));
  CHECK_THAT(refusal({.grid = {4, 4}, .target = 0, .min_block = 2}), Catch::Contains("0 masked"));
  CHECK_THAT(refusal({.grid = {1, 16}, .target = 5, .min_block = 2}), Catch::Contains("1 x 16"));
  CHECK_THAT(refusal({.grid = {4, 4}, .target = 5, .min_block = 6}), Catch::Contains("6 patches"));
  CHECK_THAT(refusal({.grid = {4, 4}, .target = 12, .min_block = 10}),
             Catch::Contains("10 patches do not fit 4 x 4 patches: --min-block can be at most 9"));
  // 1 x 5, of 1.37 x 4.56; 1 x 6 is too flat.
  CHECK_THAT(refusal({.grid = {2, 16}, .target = 12, .min_block = 6}),
             Catch::Contains("--min-block can be at most 5"));
  CHECK(refusal({.grid = {2, 16}, .target = 12, .min_block = 5}) == "accepted");
  CHECK_THAT(refusal({.grid = {4, 4}, .target = 5, .min_block = 3, .max_block = 2}),
             Catch::Contains("3 to 2"));
  CHECK_THAT(refusal({.grid = {4, 4}, .target = 5, .min_block = 2, .min_aspect = 0}),
             Catch::Contains("aspect ratio 0"));
  CHECK_THROWS_WITH(random_masks(2, 16, 16, 1, 1), Catch::Contains("16 masked patches of 16"));
}

TEST_CASE("random masks hide as many patches of every picture, all patches alike") {
  const auto masks = values_of(random_masks(400, 16, 6, 1, 1));
  CHECK(masks == values_of(random_masks(400, 16, 6, 1, 1)));
  for (int b = 0; b < 400; ++b) {
    CHECK(std::count(masks.begin() + 16 * b, masks.begin() + 16 * (b + 1), 1) == 6);
  }
  for (int patch = 0; patch < 16; ++patch) {
    int hidden = 0;
    for (int b = 0; b < 400; ++b) hidden += masks[16 * b + patch];
    CHECK(hidden == Approx(150).margin(5 * 9.7));  // 400 draws of probability 3/8
  }
}

}  // namespace
}  // namespace tessera
