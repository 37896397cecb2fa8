// Parameter and FLOP counts against published figures and against real models.
#include <catch2/catch.hpp>
#include <functional>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/flops.h"
#include "models/presets.h"
#include "nn/step_random.h"
#include "tests/models/small_beit.h"
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

TEST_CASE("counts of BEiT and of classifiers") {
  CHECK(cost_of(beit_preset("vit_base"), 75).parameters == 91'965'776);
  CHECK(cost_of(beit_preset("vit_large"), 75).parameters == 311'534'016);
  ClassifierConfig config;
  static_cast<VitConfig&>(config) = beit_preset("vit_large");
  config.relative_bias = RelativeBias::kPerBlock;
  CHECK(cost_of(config).parameters == 304'430'568);
  for (const RelativeBias bias :
       {RelativeBias::kNone, RelativeBias::kShared, RelativeBias::kPerBlock}) {
    for (const QkvBias qkv_bias : {QkvBias::kNone, QkvBias::kAll, QkvBias::kQueryValue}) {
      BeitConfig small = small_beit(bias);
      small.qkv_bias = qkv_bias;
      small.layer_scale = qkv_bias == QkvBias::kAll ? 0 : 0.1;
      CHECK(cost_of(small, 4).parameters == Beit(small).parameter_count());
      ClassifierConfig classifier;
      static_cast<VitConfig&>(classifier) = small;
      classifier.classes = 5;
      CHECK(cost_of(classifier).parameters == VitClassifier(classifier).parameter_count());
    }
  }
  // ViT-B on 197 tokens is 17.58 GMAC; BEiT's head, on 75 of them, 75 * 768 * 8192 more.
  static_cast<VitConfig&>(config) = beit_preset("vit_base");
  CHECK(cost_of(config).forward_flops / 2e9 == Approx(17.58).margin(0.02));
  const double head = 75.0 * 768 * 8192;
  CHECK(cost_of(beit_preset("vit_base"), 75).forward_flops / 2e9 ==
        Approx(17.563 + head / 1e9).margin(0.001));
}

TEST_CASE("memory grows with the batch by the activations of a picture") {
  const ModelCost cost = cost_of(mae_preset("vit_base"));
  CHECK(training_bytes(cost, 0) == 4.0 * 111'907'840 + 12.0 * 111'655'680);
  CHECK(training_bytes(cost, 8) - training_bytes(cost, 0) == Approx(8 * cost.activation_bytes));
}

// Most memory that `step` holds at a time above what was held before.
double peak_of(const Module& model, const std::function<Tensor()>& loss) {
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (requires_grad(tensor)) set_grad_slot(tensor, Tensor::zeros(tensor.shape()));
  }
  CachingAllocator& allocator = model.named_parameters()[0].tensor.backend().allocator();
  allocator.flush();  // blocks of other sizes would serve, and count for what they are
  const double before = double(allocator.stats().live_bytes);
  allocator.reset_peak();
  backward(loss());
  return double(allocator.stats().peak_bytes) - before;
}

TEST_CASE("the estimated activations are what a step holds at its peak") {
  const auto check = [](const MaeConfig& config, int64_t batch) {
    INFO("width " << config.dim);
    const Mae model(config, 1);
    const Tensor imgs = random_images(config, batch, 1);
    const double peak = peak_of(
        model, [&] { return model.forward(imgs, mask_noise(batch, config.patches(), 1, 1)).loss; });
    CHECK(peak == Approx(double(batch) * cost_of(config).activation_bytes).epsilon(0.05));
  };
  MaeConfig tiny = mae_preset("vit_tiny");
  tiny.image_height = tiny.image_width = 32;
  tiny.patch = 4;
  check(tiny, 16);
  check(mae_preset("vit_base"), 2);  // wide enough to make layers' inputs again
}

TEST_CASE("16 bits and checkpoints keep as much less as is estimated") {
  MaeConfig tiny = mae_preset("vit_tiny"), wide = mae_preset("vit_base");
  tiny.image_height = tiny.image_width = 32;
  tiny.patch = 4;
  wide.depth = wide.decoder_depth = 3;
  for (const MaeConfig& config : {tiny, wide}) {
    const int64_t batch = config.dim < 512 ? 16 : 2;
    const Tensor imgs = random_images(config, batch, 1);
    double before = 0;
    for (const StepMemory& memory : {StepMemory{DType::kF32, false},
                                     {DType::kBF16, false},
                                     {DType::kF32, true},
                                     {DType::kBF16, true}}) {
      INFO("width " << config.dim << ", " << name_of(memory.precision)
                    << (memory.checkpoint_activations ? ", checkpoints" : ""));
      Mae model(config, 1);
      model.set_checkpointing(memory.checkpoint_activations);
      if (memory.precision != DType::kF32) {  // as an optimizer keeps them
        for (const auto& [name, tensor] : model.named_parameters()) {
          if (requires_grad(tensor)) set_shadow(tensor, raw::to(tensor, memory.precision));
        }
      }
      const Autocast autocast(memory.precision);
      const double peak = peak_of(model, [&] {
        return model.forward(imgs, mask_noise(batch, config.patches(), 1, 1)).loss;
      });
      CHECK(peak == Approx(double(batch) * cost_of(config, memory).activation_bytes).epsilon(0.25));
      CHECK(peak != before);
      before = peak;
    }
  }
}

// Without checkpoints a block of ViT-B keeps about 12 values for each of a token's D in f32: 126 MB
// of its 20 blocks at two pictures. A checkpoint is one, 10 MB; the decoder's widest block, which
// is made again, and the gradients in it are 17 MB more: 0.21. In 16 bits all but the checkpoints,
// the stream's sums, is half as large: 0.349. The gradients of parameters lie in arenas and do not
// count.
TEST_CASE("checkpoints keep at most 0.35 of ViT-B's activations") {
  const MaeConfig config = mae_preset("vit_base");
  const int64_t batch = 2;
  const Tensor imgs = random_images(config, batch, 1);
  Mae model(config, 1);
  for (const DType precision : {DType::kF32, DType::kBF16}) {
    if (precision != DType::kF32) {
      for (const auto& [name, tensor] : model.named_parameters()) {
        if (requires_grad(tensor)) set_shadow(tensor, raw::to(tensor, precision));
      }
    }
    const Autocast autocast(precision);
    const auto peak = [&](bool checkpoints) {
      model.set_checkpointing(checkpoints);
      return peak_of(model, [&] {
        return model.forward(imgs, mask_noise(batch, config.patches(), 1, 1)).loss;
      });
    };
    const double share = peak(true) / peak(false);
    INFO(name_of(precision));
    CHECK(share <= (precision == DType::kF32 ? 0.23 : 0.35));
  }
}

TEST_CASE("the estimated activations of BEiT and a classifier, too") {
  BeitConfig config = beit_preset("vit_tiny");
  config.image_height = config.image_width = 32;
  config.patch = 4;
  const int64_t batch = 16, target = 26;
  const auto estimate = [&](const ModelCost& cost) {
    return double(batch) * cost.activation_bytes + cost.batch_bytes;
  };
  const Tensor imgs = random_pictures(config, batch, 1);
  const StepRandom step(1, 1);
  {
    const Beit model(config, 1);
    const MaskedPatches masked = masked_patches(random_masks(batch, 64, target, 1, 1), target);
    const Tensor ids = random_tokens(config, batch, 1);
    const double peak = peak_of(model, [&] { return model.forward(imgs, masked, ids).loss; });
    CHECK(peak == Approx(estimate(cost_of(config, target))).epsilon(0.05));
  }
  ClassifierConfig classifier;
  static_cast<VitConfig&>(classifier) = config;
  classifier.relative_bias = RelativeBias::kPerBlock;
  classifier.classes = 10;
  const VitClassifier model(classifier, 1);
  const Tensor labels = Tensor::zeros({batch}, DType::kI64);
  const double peak = peak_of(model, [&] { return cross_entropy(model(imgs), labels); });
  CHECK(peak == Approx(estimate(cost_of(classifier))).epsilon(0.05));
}

TEST_CASE("frozen blocks cost their forward pass, and keep nothing") {
  ClassifierConfig config;
  static_cast<VitConfig&>(config) = beit_preset("vit_tiny");
  config.image_height = config.image_width = 32;
  config.patch = 4;
  config.relative_bias = RelativeBias::kPerBlock;
  config.classes = 10;
  const int64_t batch = 16;
  const Tensor imgs = random_pictures(config, batch, 1);
  const Tensor labels = Tensor::zeros({batch}, DType::kI64);
  const StepRandom step(1, 1);
  for (const int64_t trained : {config.depth, int64_t{4}}) {
    INFO("the last " << trained);
    VitClassifier model(config, 1);
    model.train_last_blocks(trained);
    const ModelCost whole = cost_of(config), part = cost_of(config, config.depth - trained);
    int64_t learning = 0;
    for (const auto& [name, tensor] : model.named_parameters()) {
      if (requires_grad(tensor)) learning += tensor.numel();
    }
    CHECK(part.trained_parameters == learning);
    CHECK(part.parameters == whole.parameters);
    CHECK(part.forward_flops == whole.forward_flops);
    // Three passes over what learns, one over the rest.
    const double share = double(trained) / double(config.depth);
    CHECK(part.step_flops == Approx(whole.forward_flops * (1 + 2 * share)).epsilon(0.01));
    const double peak = peak_of(model, [&] { return cross_entropy(model(imgs), labels); });
    CHECK(peak == Approx(double(batch) * part.activation_bytes + part.batch_bytes).epsilon(0.1));
    model.set_checkpointing(true);
    const ModelCost again = cost_of(config, config.depth - trained, {DType::kF32, true});
    const double checkpointed = peak_of(model, [&] { return cross_entropy(model(imgs), labels); });
    CHECK(checkpointed ==
          Approx(double(batch) * again.activation_bytes + again.batch_bytes).epsilon(0.25));
  }
}

}  // namespace
}  // namespace tessera
