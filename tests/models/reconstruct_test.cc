// Reconstructed pictures: what is shown where, and the honest un-normalising of norm-pix.
#include "models/reconstruct.h"

#include <catch2/catch.hpp>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "tests/models/small_mae.h"

namespace tessera {
namespace {

TEST_CASE("visible patches are the picture's, removed ones the model's") {
  const MaeConfig config = small_config(3, GENERATE(false, true));
  const Mae model(config, 1);
  const Tensor imgs = random_images(config, 2, 7);
  const Masking masking = random_masking(mask_noise(2, 10, 1, 1), config.kept());
  const Reconstruction r = reconstruct(model, imgs, masking);
  CHECK_FALSE(requires_grad(r.predicted));
  REQUIRE(r.removed.shape() == Shape{2, 1, 8, 20});
  const auto mask = masking.mask().to_vector<float>(), removed = r.removed.to_vector<float>();
  const auto picture = imgs.to_vector<float>(), masked = r.masked.to_vector<float>();
  const auto predicted = r.predicted.to_vector<float>(), pasted = r.pasted.to_vector<float>();
  for (int b = 0; b < 2; ++b) {
    for (int y = 0; y < 8; ++y) {
      for (int x = 0; x < 20; ++x) {
        const bool gone = mask[b * 10 + y / 4 * 5 + x / 4] == 1;
        CHECK(removed[(b * 8 + y) * 20 + x] == (gone ? 1 : 0));
        for (int c = 0; c < 3; ++c) {
          const int i = ((b * 3 + c) * 8 + y) * 20 + x;
          CHECK(masked[i] == (gone ? 0 : picture[i]));
          CHECK(pasted[i] == (gone ? predicted[i] : picture[i]));
        }
      }
    }
  }
}

TEST_CASE("a norm-pix prediction takes mean and deviation from the true patch") {
  const MaeConfig config = small_config(1, true);
  const Mae model(config, 1);
  const Tensor imgs = raw::uniform({1, 1, 8, 20}, {3, 0, 0}, 4, 5);
  const Tensor noise = mask_noise(1, 10, 1, 1);
  const Tensor predicted = unfold_patches(reconstruct(model, imgs, noise).predicted, 4);
  const NoGrad no_grad;
  const Tensor patches = unfold_patches(imgs, 4);
  const Tensor target =
      (patches - mean(patches, {-1}, true)) / sqrt(var(patches, {-1}, true) + 1e-6);
  const Tensor pred = model.forward(imgs, noise, true).pred;
  const auto raw_pred = pred.to_vector<float>(), shown = predicted.to_vector<float>();
  const auto wanted = target.to_vector<float>();
  const auto truth = unfold_patches(imgs, 4).to_vector<float>();
  // On every patch one and the same line maps target to truth and prediction to what is shown.
  for (int l = 0; l < 10; ++l) {
    const int i = l * 16, j = l * 16 + 1;
    const double slope = (truth[j] - truth[i]) / (wanted[j] - wanted[i]);
    for (int k = i; k < i + 16; ++k) {
      CHECK(shown[k] == Approx(truth[i] + slope * (raw_pred[k] - wanted[i])).epsilon(1e-4));
    }
  }
}

}  // namespace
}  // namespace tessera
