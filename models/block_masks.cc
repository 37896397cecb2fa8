// Ten tries at a rectangle, again and again until nothing fits; the largest one there is where not
// even the first did.
#include "models/block_masks.h"

#include <algorithm>
#include <cmath>

#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int kTries = 10;

struct Sides {
  int64_t height, width;
  int64_t patches() const { return height * width; }
};

// The largest rectangles of at most `most` patches that leave a row and a column and are no flatter
// than min_aspect: one, or two that are each other turned.
std::vector<Sides> largest_blocks(const BlockMaskOptions& o, int64_t most) {
  std::vector<Sides> found;
  for (int64_t h = 1; h < o.grid.rows; ++h) {
    for (int64_t w = 1; w < o.grid.columns; ++w) {
      const Sides sides = {h, w};
      // Sides are drawn and then rounded.
      const bool flat =
          double(std::min(h, w)) + 0.5 < o.min_aspect * (double(std::max(h, w)) - 0.5);
      if (flat || sides.patches() > most) continue;
      if (!found.empty() && sides.patches() < found[0].patches()) continue;
      if (!found.empty() && sides.patches() > found[0].patches()) found.clear();
      found.push_back(sides);
    }
  }
  return found;
}

void cover(const Sides& sides, int64_t top, int64_t left, const Grid& grid,
           std::vector<uint8_t>& mask) {
  for (int64_t y = top; y < top + sides.height; ++y) {
    std::fill_n(mask.begin() + y * grid.columns + left, sides.width, uint8_t{1});
  }
}

// One of the largest blocks, anywhere in an empty mask; how many patches it covered.
int64_t lay_largest(const BlockMaskOptions& o, int64_t most, std::vector<uint8_t>& mask,
                    PhiloxStream& random) {
  const std::vector<Sides> blocks = largest_blocks(o, most);
  const Sides sides = blocks[random.below(std::ssize(blocks))];
  const int64_t top = random.below(o.grid.rows - sides.height + 1);
  const int64_t left = random.below(o.grid.columns - sides.width + 1);
  cover(sides, top, left, o.grid, mask);
  return sides.patches();
}

// A rectangle that covers 1 to `most` patches that are still visible, masked in place; how many it
// covered, or 0 when no try fitted. Halves are rounded to even, as Python's round().
int64_t lay_block(const BlockMaskOptions& o, int64_t most, std::vector<uint8_t>& mask,
                  PhiloxStream& random) {
  const double widest = -std::log(o.min_aspect);
  for (int attempt = 0; attempt < kTries; ++attempt) {
    // `most` may lie below min_block: then the area is drawn between the two all the same.
    const double area = random.uniform(double(o.min_block), double(most));
    const double aspect = std::exp(random.uniform(-widest, widest));
    const auto height = static_cast<int64_t>(std::nearbyint(std::sqrt(area * aspect)));
    const auto width = static_cast<int64_t>(std::nearbyint(std::sqrt(area / aspect)));
    if (width >= o.grid.columns || height >= o.grid.rows) continue;
    const int64_t top = random.below(o.grid.rows - height + 1);
    const int64_t left = random.below(o.grid.columns - width + 1);
    int64_t fresh = height * width;
    for (int64_t y = top; y < top + height; ++y) {
      const auto row = mask.begin() + y * o.grid.columns + left;
      fresh -= std::count(row, row + width, uint8_t{1});
    }
    if (fresh == 0 || fresh > most) continue;
    cover({height, width}, top, left, o.grid, mask);
    return fresh;
  }
  return 0;
}

}  // namespace

int64_t BlockMaskOptions::largest_block() const {
  const std::vector<Sides> blocks = largest_blocks(*this, grid.patches());
  return blocks.empty() ? 0 : blocks[0].patches();
}

void BlockMaskOptions::check() const {
  TESSERA_CHECK_USAGE(grid.rows > 1 && grid.columns > 1,
                      "block-wise masks need at least 2 x 2 patches, not {} x {}", grid.rows,
                      grid.columns);
  TESSERA_CHECK_USAGE(target > 0 && target < grid.patches(),
                      "{} masked patches of {}: at least one must be masked and one visible",
                      target, grid.patches());
  TESSERA_CHECK_USAGE(min_block > 0 && min_block <= target,
                      "blocks of at least {} patches do not fit a mask of {}: --min-block must be "
                      "smaller or --mask-ratio larger",
                      min_block, target);
  TESSERA_CHECK_USAGE(min_aspect > 0 && min_aspect <= 1,
                      "a block's least aspect ratio {} is outside (0, 1]", min_aspect);
  const int64_t largest = largest_block();
  TESSERA_CHECK_USAGE(min_block <= largest,
                      "blocks of at least {} patches do not fit {} x {} patches: --min-block can "
                      "be at most {}",
                      min_block, grid.rows, grid.columns, largest);
  TESSERA_CHECK_USAGE(max_block == 0 || max_block >= min_block,
                      "blocks of {} to {} patches: the range is empty", min_block, max_block);
}

std::vector<uint8_t> draw_block_mask(const BlockMaskOptions& options, PhiloxStream& random) {
  std::vector<uint8_t> mask(static_cast<size_t>(options.grid.patches()), 0);
  const int64_t largest = options.max_block > 0 ? options.max_block : options.target;
  int64_t missing = options.target;
  while (missing > 0) {
    const int64_t most = std::min(missing, largest);
    int64_t laid = lay_block(options, most, mask, random);
    const bool stays_empty = laid == 0 && missing == options.target && !options.exact;
    if (stays_empty) laid = lay_largest(options, most, mask, random);
    if (laid == 0) break;
    missing -= laid;
  }
  for (int64_t left = options.exact ? missing : 0; left > 0; --left) {
    // The k-th of the patches that are still visible.
    int64_t k = random.below(std::count(mask.begin(), mask.end(), uint8_t{0}));
    const auto place =
        std::find_if(mask.begin(), mask.end(), [&](uint8_t m) { return m == 0 && k-- == 0; });
    *place = 1;
  }
  return mask;
}

Tensor block_masks(int64_t batch, const BlockMaskOptions& options, uint64_t seed,
                   uint32_t iteration) {
  options.check();
  std::vector<uint8_t> masks;
  for (int64_t b = 0; b < batch; ++b) {
    PhiloxStream random = stream_at({seed, iteration, kSiteMask}, static_cast<uint64_t>(b));
    const std::vector<uint8_t> mask = draw_block_mask(options, random);
    masks.insert(masks.end(), mask.begin(), mask.end());
  }
  return raw::to(Tensor::from(masks, {batch, options.grid.patches()}), DType::kBool);
}

}  // namespace tessera
