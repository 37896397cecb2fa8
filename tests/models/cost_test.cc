// Parameter and FLOP counts against published figures and against real models.
#include <catch2/catch.hpp>

#include "autograd/tape.h"
#include "engine/backend.h"
#include "models/flops.h"
#include "models/presets.h"
#include "tests/models/small_mae.h"

namespace tessera {
namespace {

TEST_CASE("parameter counts of the published models") {
  CHECK(cost_of(mae_preset("vit_base")).parameters == 111'907'840);
  CHECK(cost_of(mae_preset("vit_base")).trained_parameters == 111'655'680);
  CHECK(cost_of(mae_preset("vit_large")).parameters == 329'541'888);
  CHECK(cost_of(mae_preset("vit_huge")).parameters == 657'074'508);
}

TEST_CASE("the counted parameters are those of the built model") {
  for (const int64_t channels : {1, 3, 4}) {
    const MaeConfig config = small_config(channels);
    CHECK(cost_of(config).parameters == Mae(config).parameter_count());
  }
  for (const char* name : {"vit_tiny", "vit_small"}) {
    MaeConfig config = mae_preset(name);
    config.image_height = config.image_width = 32;
    config.patch = 4;
    CHECK(cost_of(config).parameters == Mae(config).parameter_count());
  }
}

TEST_CASE("FLOPs of the published models") {
  // The reference embeds all patches and predicts them all, class token included: base 9.78, large
  // 20.76, huge 48.56 GMAC. Without what we leave out it is ours.
  const auto reference_gmac = [](const char* name) {
    const MaeConfig c = mae_preset(name);
    const double visible = 1 + double(c.kept()), removed = double(c.patches() - c.kept());
    const double more = removed * double(c.patch_values() * c.dim) +
                        visible * double(c.decoder_dim * c.patch_values());
    return (cost_of(c).forward_flops / 2 + more) / 1e9;
  };
  CHECK(reference_gmac("vit_base") == Approx(9.78).margin(0.005));
  CHECK(reference_gmac("vit_large") == Approx(20.76).margin(0.005));
  CHECK(reference_gmac("vit_huge") == Approx(48.56).margin(0.005));
  // Forward 0.058 + 8.493 + 0.092 + 0.039 + 9.915 + 0.636 + 0.116 GFLOP, three times but for the
  // patch embedding, twice.
  CHECK(cost_of(mae_preset("vit_base")).step_flops / 1e9 == Approx(57.99).margin(0.02));
}

TEST_CASE("memory grows with the batch by the activations of a picture") {
  const MaeCost cost = cost_of(mae_preset("vit_base"));
  CHECK(training_bytes(cost, 0) == 4.0 * 111'907'840 + 12.0 * 111'655'680);
  CHECK(training_bytes(cost, 8) - training_bytes(cost, 0) == Approx(8 * cost.activation_bytes));
}

TEST_CASE("the estimated activations are what a step holds at its peak") {
  MaeConfig config = mae_preset("vit_tiny");
  config.image_height = config.image_width = 32;
  config.patch = 4;
  const int64_t batch = 16;
  const Mae model(config, 1);
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (requires_grad(tensor)) set_grad_slot(tensor, Tensor::zeros(tensor.shape()));
  }
  const Tensor imgs = random_images(config, batch, 1);
  CachingAllocator& allocator = imgs.backend().allocator();
  const double before = double(allocator.stats().live_bytes);
  allocator.reset_peak();
  backward(model.forward(imgs, mask_noise(batch, config.patches(), 1, 1)).loss);
  const double peak = double(allocator.stats().peak_bytes) - before;
  CHECK(peak == Approx(double(batch) * cost_of(config).activation_bytes).epsilon(0.05));
}

}  // namespace
}  // namespace tessera
