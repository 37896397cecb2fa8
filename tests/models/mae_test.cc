// The masked autoencoder's shape and habits: names, counts, checks, what it may see, what it
// learns.
#include "models/mae.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "models/presets.h"
#include "tests/models/small_mae.h"

namespace tessera {
namespace {

std::map<std::string, Tensor> parameters_of(const Mae& model) {
  std::map<std::string, Tensor> map;
  for (const auto& [name, tensor] : model.named_parameters()) map[name] = tensor;
  return map;
}

TEST_CASE("ViT-B has the official names, shapes and count") {
  const Mae model(mae_preset("vit_base"));
  CHECK(model.parameter_count() == 111'907'840);
  std::vector<std::pair<std::string, Shape>> expected = {
      {"cls_token", {1, 1, 768}},
      {"pos_embed", {1, 197, 768}},
      {"mask_token", {1, 1, 512}},
      {"decoder_pos_embed", {1, 197, 512}},
      {"patch_embed.proj.weight", {768, 3, 16, 16}},
      {"patch_embed.proj.bias", {768}}};
  const auto add_blocks = [&](const std::string& prefix, int count, int64_t width) {
    for (int i = 0; i < count; ++i) {
      const std::string block = prefix + "." + std::to_string(i) + ".";
      expected.push_back({block + "norm1.weight", {width}});
      expected.push_back({block + "norm1.bias", {width}});
      expected.push_back({block + "attn.qkv.weight", {3 * width, width}});
      expected.push_back({block + "attn.qkv.bias", {3 * width}});
      expected.push_back({block + "attn.proj.weight", {width, width}});
      expected.push_back({block + "attn.proj.bias", {width}});
      expected.push_back({block + "norm2.weight", {width}});
      expected.push_back({block + "norm2.bias", {width}});
      expected.push_back({block + "mlp.fc1.weight", {4 * width, width}});
      expected.push_back({block + "mlp.fc1.bias", {4 * width}});
      expected.push_back({block + "mlp.fc2.weight", {width, 4 * width}});
      expected.push_back({block + "mlp.fc2.bias", {width}});
    }
  };
  add_blocks("blocks", 12, 768);
  expected.push_back({"norm.weight", {768}});
  expected.push_back({"norm.bias", {768}});
  expected.push_back({"decoder_embed.weight", {512, 768}});
  expected.push_back({"decoder_embed.bias", {512}});
  add_blocks("decoder_blocks", 8, 512);
  expected.push_back({"decoder_norm.weight", {512}});
  expected.push_back({"decoder_norm.bias", {512}});
  expected.push_back({"decoder_pred.weight", {768, 512}});
  expected.push_back({"decoder_pred.bias", {768}});

  const auto state = model.state_dict();
  REQUIRE(state.size() == expected.size());
  for (size_t i = 0; i < state.size(); ++i) {
    CHECK(state[i].name == expected[i].first);
    CHECK(state[i].tensor.shape() == expected[i].second);
    CHECK(state[i].tensor.dtype() == DType::kF32);
  }
}

TEST_CASE("initial weights follow the reference") {
  const MaeConfig config = small_config();
  const Mae model(config, 1);
  const auto largest = [](const Tensor& t) { return raw::amax(abs(t.detach()), {}, false).item(); };
  for (const auto& [name, tensor] : parameters_of(model)) {
    INFO(name);
    if (name.ends_with("pos_embed")) {
      const auto table = sincos_positions(tensor.size(2), 2, 5).to_vector<float>();
      CHECK(tensor.to_vector<float>() == table);
    } else if (name.ends_with("_token")) {
      CHECK(largest(tensor) > 0);
      CHECK(largest(tensor) < 0.1);  // five deviations
    } else if (name == "patch_embed.proj.bias") {
      CHECK(largest(tensor) <= 1 / std::sqrt(48.0));
      CHECK(largest(tensor) > 0.5 / std::sqrt(48.0));
    } else if (name.ends_with(".bias")) {
      CHECK(largest(tensor) == 0);
    } else if (name.find("norm") != std::string::npos) {
      CHECK(tensor.to_vector<float>() == std::vector<float>(tensor.numel(), 1));
    } else {
      const double bound =
          std::sqrt(6.0 / double(tensor.size(0) + tensor.numel() / tensor.size(0)));
      CHECK(largest(tensor) <= bound);
      CHECK(largest(tensor) > 0.9 * bound);
    }
  }
  const Mae same(config, 1), other(config, 2);
  const std::string name = "blocks.1.mlp.fc1.weight";
  const auto drawn = parameters_of(model)[name].to_vector<float>();
  CHECK(drawn == parameters_of(same)[name].to_vector<float>());
  CHECK(drawn != parameters_of(other)[name].to_vector<float>());
  CHECK(drawn != parameters_of(model)["blocks.0.mlp.fc1.weight"].to_vector<float>());
}

TEST_CASE("asking for everything changes neither loss nor gradients") {
  const MaeConfig config = small_config(3, GENERATE(false, true));
  const Mae model(config, 1);
  const Tensor imgs = random_images(config, 3, 2);
  const Tensor noise = mask_noise(3, config.patches(), 1, 1);
  const MaeOutput all = model.forward(imgs, noise, true);
  CHECK(all.latent.shape() == Shape{3, 5, 12});
  CHECK(all.pred.shape() == Shape{3, 10, 48});
  CHECK(all.mask.shape() == Shape{3, 10});
  CHECK(all.ids_restore.dtype() == DType::kI64);
  backward(all.loss);
  std::map<std::string, std::vector<float>> gradients;
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (!requires_grad(tensor)) continue;
    gradients[name] = grad(tensor).to_vector<float>();
    zero_grad(tensor);
  }
  const MaeOutput quick = model.forward(imgs, noise);
  CHECK_FALSE(quick.pred.defined());
  CHECK(quick.loss.item() == Approx(all.loss.item()).epsilon(1e-6));
  backward(quick.loss);
  for (const auto& [name, tensor] : model.named_parameters()) {
    INFO(name);
    if (name.ends_with("pos_embed")) {
      CHECK_FALSE(requires_grad(tensor));
      continue;
    }
    const auto have = grad(tensor).to_vector<float>();
    double distance = 0, norm = 0;
    for (size_t i = 0; i < have.size(); ++i) {
      distance += std::pow(have[i] - gradients[name][i], 2);
      norm += std::pow(have[i], 2);
    }
    CHECK(norm > 0);
    CHECK(std::sqrt(distance) <= 1e-5 * std::sqrt(norm) + 1e-9);
  }
}

TEST_CASE("the loss is the reference's formula on the predictions") {
  const bool norm_pix = GENERATE(false, true);
  const MaeConfig config = small_config(4, norm_pix);
  const Mae model(config, 1);
  const Tensor imgs = random_images(config, 2, 3);
  const MaeOutput out = model.forward(imgs, mask_noise(2, 10, 1, 1), true);
  const auto x = imgs.to_vector<float>(), pred = out.pred.to_vector<float>();
  const auto mask = out.mask.to_vector<float>();
  const int n = 4 * 4 * 4;
  double total = 0, removed = 0;
  for (int b = 0; b < 2; ++b) {
    for (int l = 0; l < 10; ++l) {
      std::vector<double> target;
      for (int r = 0; r < 4; ++r) {
        for (int c = 0; c < 4; ++c) {
          for (int ch = 0; ch < 4; ++ch) {  // channel fastest
            target.push_back(x[((b * 4 + ch) * 8 + l / 5 * 4 + r) * 20 + l % 5 * 4 + c]);
          }
        }
      }
      double mean = 0, var = 0;
      for (const double t : target) mean += t / n;
      for (const double t : target) var += (t - mean) * (t - mean) / (n - 1);
      double error = 0;
      for (int i = 0; i < n; ++i) {
        const double t = norm_pix ? (target[i] - mean) / std::sqrt(var + 1e-6) : target[i];
        error += std::pow(pred[(b * 10 + l) * n + i] - t, 2) / n;
      }
      total += mask[b * 10 + l] * error;
      removed += mask[b * 10 + l];
    }
  }
  CHECK(removed == 2 * 6);
  CHECK(out.loss.item() == Approx(total / removed).epsilon(1e-6));
}

TEST_CASE("removed pixels never reach the encoder, visible ones do") {
  const MaeConfig config = small_config();
  const Mae model(config, 1);
  const NoGrad no_grad;
  const Tensor imgs = random_images(config, 1, 4);
  const Masking masking = random_masking(mask_noise(1, 10, 1, 1), config.kept());
  const auto mask = masking.mask().to_vector<float>();
  const auto before = model.encode(imgs, masking.ids_keep).to_vector<float>();
  for (int64_t patch = 0; patch < 10; ++patch) {
    const Tensor changed = raw::clone(imgs);
    const int64_t top = patch / 5 * 4, left = patch % 5 * 4;
    raw::fill_(raw::slice(raw::slice(changed, 2, top, top + 4), 3, left, left + 4), 0.25);
    const auto after = model.encode(changed, masking.ids_keep).to_vector<float>();
    CHECK((before == after) == (mask[patch] == 1));
  }
}

TEST_CASE("encoding all patches equals encoding all by name, in any order but that of the rows") {
  const MaeConfig config = small_config(1);
  const Mae model(config, 1);
  const NoGrad no_grad;
  const Tensor imgs = random_images(config, 2, 5);
  std::vector<int64_t> reversed(20);
  for (int i = 0; i < 20; ++i) reversed[i] = 9 - i % 10;
  const auto all = model.encode(imgs).to_vector<float>();
  const auto named = model.encode(imgs, Tensor::from(reversed, {2, 10})).to_vector<float>();
  for (int b = 0; b < 2; ++b) {
    for (int token = 0; token < 11; ++token) {
      const int other = token == 0 ? 0 : 11 - token;
      for (int i = 0; i < 12; ++i) {
        CHECK(all[(b * 11 + token) * 12 + i] ==
              Approx(named[(b * 11 + other) * 12 + i]).margin(1e-5));
      }
    }
  }
}

TEST_CASE("gradients of a whole model agree with differences of its loss") {
  const MaeConfig config = small_config(4, GENERATE(false, true));
  Mae model(config, 1);
  model.visit([](const std::string& name, Tensor& t, StateKind kind) {
    // Random biases too, so that no term hides behind a zero.
    const bool bias = name.ends_with(".bias");
    t = bias ? raw::uniform(t.shape(), {7, 0, 0}, -0.3, 0.3, DType::kF64)
             : raw::to(t.detach(), DType::kF64);
    set_requires_grad(t, kind == StateKind::kTrained);
  });
  const Tensor imgs = random_images(config, 2, 6, DType::kF64);
  const Masking masking = random_masking(mask_noise(2, 10, 1, 1), config.kept());
  backward(model.forward(imgs, masking).loss);
  const NoGrad no_grad;
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (name.ends_with("pos_embed")) continue;
    INFO(name);
    const Tensor direction = raw::uniform(tensor.shape(), {11, 0, 0}, -1, 1, DType::kF64);
    const double slope = sum(grad(tensor) * direction).item();
    const double step = 1e-6;
    raw::add_(tensor, mul_scalar(direction, step));
    const double above = model.forward(imgs, masking).loss.item();
    raw::add_(tensor, mul_scalar(direction, -2 * step));
    const double below = model.forward(imgs, masking).loss.item();
    raw::add_(tensor, mul_scalar(direction, step));
    CHECK((above - below) / (2 * step) == Approx(slope).epsilon(1e-6).margin(1e-8));
  }
}

TEST_CASE("a model that cannot be built is refused with its values") {
  const auto refusal = [](auto change) {
    MaeConfig config = small_config();
    change(config);
    try {
      config.check();
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  using C = MaeConfig&;
  CHECK(refusal([](C) {}) == "accepted");
  CHECK_THAT(refusal([](C c) { c.image_width = 21; }),
             Catch::Contains("8x21") && Catch::Contains("patch size 4"));
  CHECK_THAT(refusal([](C c) { c.patch = 0; }), Catch::Contains("patch 0"));
  CHECK_THAT(refusal([](C c) { c.mask_ratio = 1.5; }), Catch::Contains("1.5"));
  CHECK_THAT(refusal([](C c) { c.mask_ratio = NAN; }), Catch::Contains("nan"));
  CHECK_THAT(refusal([](C c) { c.mask_ratio = -0.1; }), Catch::Contains("-0.1"));
  CHECK_THAT(refusal([](C c) { c.mask_ratio = 0; }), Catch::Contains("10 of 10 patches visible"));
  CHECK_THAT(refusal([](C c) { c.mask_ratio = 0.95; }), Catch::Contains("0 of 10 patches visible"));
  CHECK_THAT(refusal([](C c) { c.heads = 5; }),
             Catch::Contains("12") && Catch::Contains("5 heads"));
  CHECK_THAT(refusal([](C c) { c.decoder_dim = 10; }),
             Catch::Contains("decoder width 10") && Catch::Contains("4"));
  CHECK_THAT(refusal([](C c) { c.depth = 0; }), Catch::Contains("encoder depth 0"));
  CHECK_THAT(refusal([](C c) { c.mlp_ratio = 0; }), Catch::Contains("MLP ratio 0"));
  CHECK_THROWS_AS(Mae(MaeConfig{.patch = 15}), UsageError);
  CHECK_THROWS_WITH(mae_preset("vit_giant"), Catch::Contains("vit_giant") &&
                                                 Catch::Contains("vit_tiny, vit_small, vit_base"));
}

TEST_CASE("pictures and masks of another size are refused") {
  const Mae model(small_config(), 1);
  const Tensor noise = mask_noise(2, 10, 1, 1);
  CHECK_THROWS_WITH(model.forward(Tensor::zeros({2, 3, 8, 16}), noise),
                    Catch::Contains("(B, 3, 8, 20)") && Catch::Contains("(2, 3, 8, 16)"));
  CHECK_THROWS_WITH(model.forward(Tensor::zeros({2, 1, 8, 20}), noise), Catch::Contains("(2, 1,"));
  CHECK_THROWS_WITH(model.forward(Tensor::zeros({3, 3, 8, 20}), noise),
                    Catch::Contains("3 pictures of 10"));
  CHECK_THROWS_WITH(model.forward(Tensor::zeros({2, 3, 8, 20}), mask_noise(2, 12, 1, 1)),
                    Catch::Contains("(2, 12)"));
}

TEST_CASE("small pictures get small patches") {
  const MaeConfig base = mae_preset("vit_base"), huge = mae_preset("vit_huge");
  CHECK(default_patch(base.patch, 224, 224) == 16);
  CHECK(default_patch(huge.patch, 224, 224) == 14);
  CHECK(default_patch(base.patch, 96, 224) == 8);
  CHECK(default_patch(base.patch, 32, 32) == 4);
}

}  // namespace
}  // namespace tessera
