// Random masks: counts in double arithmetic, order of the kept, index lists that agree.
#include "models/masks.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace tessera {
namespace {

TEST_CASE("int(L (1 - ratio)) is computed in double") {
  CHECK(kept_patches(196, 0.75) == 49);
  CHECK(kept_patches(64, 0.75) == 16);
  CHECK(kept_patches(16, 0.6) == 6);
  CHECK(kept_patches(196, 0.6) == 78);
  // Python: int(10 * (1 - 0.9)) is 0, because 1 - 0.9 is a little less than 0.1; in float it is
  // a little more, and one patch would stay.
  CHECK(kept_patches(10, 0.9) == 0);
  CHECK(static_cast<int64_t>(10 * (1 - 0.9f)) == 1);
  CHECK(kept_patches(100, 0.8) == 19);  // 1 - 0.8 = 0.19999999999999996
  CHECK(kept_patches(10, 0.7) == 3);    // 1 - 0.7 = 0.30000000000000004
  CHECK(kept_patches(1000, 0.999) == 1);
}

TEST_CASE("the smallest noise stays, in shuffled order, and equal noise in order") {
  const Tensor noise = Tensor::from<float>(
      std::vector<float>{0.5f, 0.1f, 0.9f, 0.1f, 0.3f, /**/ 5, 4, 3, 2, 1}, {2, 5});
  const Masking masking = random_masking(noise, 2);
  CHECK(masking.kept() == 2);
  CHECK(masking.patches() == 5);
  CHECK(masking.ids_keep.to_vector<int64_t>() == std::vector<int64_t>{1, 3, /**/ 4, 3});
  CHECK(masking.visible_tokens.to_vector<int64_t>() == std::vector<int64_t>{0, 2, 4, /**/ 0, 5, 4});
  CHECK(masking.ids_removed.to_vector<int64_t>() == std::vector<int64_t>{4, 0, 2, /**/ 2, 1, 0});
  CHECK(masking.removed_tokens.to_vector<int64_t>() == std::vector<int64_t>{5, 1, 3, 3, 2, 1});
  CHECK(masking.ids_restore.to_vector<int64_t>() ==
        std::vector<int64_t>{3, 0, 4, 1, 2, /**/ 4, 3, 2, 1, 0});
  CHECK(masking.mask().to_vector<float>() == std::vector<float>{1, 0, 1, 0, 1, /**/ 1, 1, 1, 0, 0});
  // Rows of [class, visible 0, visible 1, mask token].
  CHECK(masking.decoder_rows.to_vector<int64_t>() ==
        std::vector<int64_t>{0, 3, 1, 3, 2, 3, /**/ 0, 3, 3, 3, 2, 1});
}

TEST_CASE("a seed and an iteration name the mask, and every patch is masked equally often") {
  const auto draw = [](uint64_t seed, uint32_t iteration) {
    return random_masking(mask_noise(400, 16, seed, iteration), 4).mask().to_vector<float>();
  };
  const auto mask = draw(1, 7);
  CHECK(mask == draw(1, 7));
  CHECK(mask != draw(1, 8));
  CHECK(mask != draw(2, 7));
  for (int patch = 0; patch < 16; ++patch) {
    double removed = 0;
    for (int b = 0; b < 400; ++b) removed += mask[b * 16 + patch];
    CHECK(removed == Approx(300).margin(5 * 8.7));  // 400 draws of probability 3/4: deviation 8.7
  }
  for (int b = 0; b < 400; ++b) {
    CHECK(std::count(mask.begin() + b * 16, mask.begin() + (b + 1) * 16, 0.0f) == 4);
  }
}

TEST_CASE("a mask that hides nothing or everything is refused") {
  const Tensor noise = mask_noise(2, 4, 1, 1);
  CHECK_THROWS_WITH(random_masking(noise, 0), Catch::Contains("of 4 patches 0"));
  CHECK_THROWS_WITH(random_masking(noise, 4), Catch::Contains("of 4 patches 4"));
  CHECK_THROWS_WITH(random_masking(Tensor::zeros({4}), 1), Catch::Contains("(pictures, patches)"));
}

}  // namespace
}  // namespace tessera
