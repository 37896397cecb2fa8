// BEiT's shape and habits: names, counts, what it may see, what its padding must not do.
#include "models/beit.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "models/presets.h"
#include "nn/step_random.h"
#include "tests/models/small_beit.h"

namespace tessera {
namespace {

// 3 masked patches in the first picture, 1 in the second.
Tensor uneven_mask() {
  std::vector<uint8_t> mask(20, 0);
  for (const int i : {1, 5, 9, 10 + 4}) mask[i] = 1;
  return raw::to(Tensor::from(mask, {2, 10}), DType::kBool);
}

TEST_CASE("BEiT-B has the official names, shapes and count") {
  const Beit model(beit_preset("vit_base"));
  CHECK(model.parameter_count() == 91'965'776);
  std::vector<std::pair<std::string, Shape>> expected = {
      {"cls_token", {1, 1, 768}},
      {"mask_token", {1, 1, 768}},
      {"patch_embed.proj.weight", {768, 3, 16, 16}},
      {"patch_embed.proj.bias", {768}},
      {"rel_pos_bias.relative_position_bias_table", {732, 12}},
      {"rel_pos_bias.relative_position_index", {197, 197}}};
  for (int i = 0; i < 12; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    expected.push_back({block + "gamma_1", {768}});
    expected.push_back({block + "gamma_2", {768}});
    expected.push_back({block + "norm1.weight", {768}});
    expected.push_back({block + "norm1.bias", {768}});
    expected.push_back({block + "attn.q_bias", {768}});
    expected.push_back({block + "attn.v_bias", {768}});
    expected.push_back({block + "attn.qkv.weight", {3 * 768, 768}});
    expected.push_back({block + "attn.proj.weight", {768, 768}});
    expected.push_back({block + "attn.proj.bias", {768}});
    expected.push_back({block + "norm2.weight", {768}});
    expected.push_back({block + "norm2.bias", {768}});
    expected.push_back({block + "mlp.fc1.weight", {4 * 768, 768}});
    expected.push_back({block + "mlp.fc1.bias", {4 * 768}});
    expected.push_back({block + "mlp.fc2.weight", {768, 4 * 768}});
    expected.push_back({block + "mlp.fc2.bias", {768}});
  }
  expected.push_back({"norm.weight", {768}});
  expected.push_back({"norm.bias", {768}});
  expected.push_back({"lm_head.weight", {8192, 768}});
  expected.push_back({"lm_head.bias", {8192}});

  const auto state = model.state_dict();
  REQUIRE(state.size() == expected.size());
  for (size_t i = 0; i < state.size(); ++i) {
    CHECK(state[i].name == expected[i].first);
    CHECK(state[i].tensor.shape() == expected[i].second);
  }
}

TEST_CASE("BEiT's initial weights follow the reference") {
  BeitConfig config = small_beit();
  config.absolute_positions = true;
  config.dim = 48;
  config.layer_scale = 0.1;
  const Beit model(config, 1);
  const auto largest = [](const Tensor& t) { return raw::amax(abs(t.detach()), {}, false).item(); };
  for (const auto& [name, tensor] : model.named_parameters()) {
    INFO(name);
    if (name.ends_with("bias_table") || (name.ends_with("bias") && tensor.ndim() == 1)) {
      CHECK(largest(tensor) == 0);
    } else if (name.find("gamma") != std::string::npos) {
      CHECK(tensor.to_vector<float>() == std::vector<float>(48, 0.1f));
    } else if (name.find("norm") != std::string::npos) {
      CHECK(tensor.to_vector<float>() == std::vector<float>(48, 1));
    } else {  // a normal of deviation 0.02, cut there
      double bound = 0.02;
      const bool rescaled = name.ends_with("attn.proj.weight") || name.ends_with("mlp.fc2.weight");
      if (rescaled) bound /= std::sqrt(name.starts_with("blocks.0") ? 2.0 : 4.0);
      CHECK(largest(tensor) <= bound * 1.0000001);
      CHECK(largest(tensor) > 0.9 * bound);
      // A normal that is cut at one deviation has a deviation of 0.5396 of it.
      const double deviation = std::sqrt(mean(square(tensor.detach())).item());
      CHECK(deviation == Approx(0.5396 * bound).epsilon(tensor.numel() > 1000 ? 0.05 : 0.4));
    }
  }
  const auto patches = [](const Beit& m) {
    return m.named_parameters()[3].tensor.to_vector<float>();
  };
  CHECK(model.named_parameters()[3].name == "patch_embed.proj.weight");
  CHECK(patches(model) == patches(Beit(config, 1)));
  CHECK(patches(model) != patches(Beit(config, 2)));
}

TEST_CASE("loss and accuracy are the cross-entropy of the masked patches alone") {
  const BeitConfig config = small_beit();
  Beit model(config);
  randomize(model, 1);
  const Tensor imgs = random_pictures(config, 2, 2, DType::kF64), mask = uneven_mask();
  const Tensor token_ids = random_tokens(config, 2, 3);
  const MaskedPatches masked = masked_patches(mask, 4);
  CHECK(masked.count() == 4);
  CHECK(masked.tokens.to_vector<int64_t>() == std::vector<int64_t>{2, 6, 10, 0, 5, 0, 0, 0});
  const BeitOutput out = model.forward(imgs, masked, token_ids);
  CHECK(out.logits.shape() == Shape{2, 4, 7});

  const auto every = model.predict(imgs, mask).to_vector<double>();  // (2, 10, 7)
  const auto ids = token_ids.to_vector<int64_t>();
  double loss = 0, hits = 0;
  for (const int i : {1, 5, 9, 14}) {
    const double* row = every.data() + i * 7;
    double sum = 0;
    int best = 0;
    for (int v = 0; v < 7; ++v) {
      sum += std::exp(row[v]);
      if (row[v] > row[best]) best = v;
    }
    loss += (std::log(sum) - row[ids[i]]) / 4;
    hits += best == ids[i];
  }
  CHECK(out.loss.item() == Approx(loss).epsilon(1e-12));
  CHECK(out.accuracy.item() == Approx(hits / 4));
}

TEST_CASE("how far the list is padded changes neither loss nor gradients") {
  const BeitConfig config = small_beit(RelativeBias::kPerBlock);
  Beit model(config);
  randomize(model, 1);
  const Tensor imgs = random_pictures(config, 2, 2, DType::kF64);
  const Tensor token_ids = random_tokens(config, 2, 3);
  std::map<std::string, std::vector<double>> before;
  double loss = 0;
  for (const int64_t target : {3, 10}) {
    for (const auto& [name, tensor] : model.named_parameters()) zero_grad(tensor);
    const BeitOutput out = model.forward(imgs, masked_patches(uneven_mask(), target), token_ids);
    backward(out.loss);
    if (target == 3) loss = out.loss.item();
    CHECK(out.loss.item() == Approx(loss).epsilon(1e-13));
    for (const auto& [name, tensor] : model.named_parameters()) {
      INFO(name);
      const auto have = grad(tensor).to_vector<double>();
      if (target == 3) {
        before[name] = have;
        continue;
      }
      for (size_t i = 0; i < have.size(); ++i) {
        REQUIRE(have[i] == Approx(before[name][i]).epsilon(1e-10).margin(1e-13));
      }
    }
  }
}

TEST_CASE("the pixels of masked patches never reach BEiT, those of visible ones do") {
  const BeitConfig config = small_beit();
  const Beit model(config, 1);
  const NoGrad no_grad;
  const Tensor imgs = random_pictures(config, 2, 4), mask = uneven_mask();
  const auto masked = raw::to(mask, DType::kU8).to_vector<uint8_t>();
  const auto before = model.predict(imgs, mask).to_vector<float>();
  for (int64_t patch = 0; patch < 10; ++patch) {
    const Tensor changed = raw::clone(imgs), first = raw::slice(changed, 0, 0, 1);
    const int64_t top = patch / 5 * 4, left = patch % 5 * 4;
    raw::fill_(raw::slice(raw::slice(first, 2, top, top + 4), 3, left, left + 4), 0.25);
    const auto after = model.predict(changed, mask).to_vector<float>();
    CHECK((before == after) == (masked[patch] == 1));
  }
}

TEST_CASE("gradients of a whole BEiT agree with differences of its loss") {
  const RelativeBias bias =
      GENERATE(RelativeBias::kNone, RelativeBias::kShared, RelativeBias::kPerBlock);
  BeitConfig config = small_beit(bias);
  config.drop_path = 0.3;
  Beit model(config);
  randomize(model, 1);
  const Tensor imgs = random_pictures(config, 2, 6, DType::kF64);
  const Tensor token_ids = random_tokens(config, 2, 3);
  const MaskedPatches masked = masked_patches(uneven_mask(), 4);
  const auto loss = [&] {
    const StepRandom step(5, 1);  // the same blocks are dropped each time
    return model.forward(imgs, masked, token_ids).loss;
  };
  backward(loss());
  for (const auto& [name, tensor] : model.named_parameters()) {
    INFO(name);
    const NoGrad no_grad;
    const Tensor direction = raw::uniform(tensor.shape(), {11, 0, 0}, -1, 1, DType::kF64);
    const double slope = sum(grad(tensor) * direction).item();
    const double step = 1e-6;
    raw::add_(tensor, mul_scalar(direction, step));
    const double above = loss().item();
    raw::add_(tensor, mul_scalar(direction, -2 * step));
    const double below = loss().item();
    raw::add_(tensor, mul_scalar(direction, step));
    CHECK((above - below) / (2 * step) == Approx(slope).epsilon(1e-6).margin(1e-8));
  }
}

TEST_CASE("blocks that run again give the same bits") {
  BeitConfig config = small_beit(GENERATE(RelativeBias::kShared, RelativeBias::kPerBlock));
  config.drop_path = 0.3;
  Beit model(config, 1);
  const Tensor imgs = random_pictures(config, 2, 6), token_ids = random_tokens(config, 2, 3);
  const MaskedPatches masked = masked_patches(uneven_mask(), 4);
  std::map<std::string, std::vector<float>> gradients;
  float loss = 0;
  for (const bool again : {false, true}) {
    model.set_checkpointing(again);
    for (const auto& [name, tensor] : model.named_parameters()) zero_grad(tensor);
    const StepRandom step(5, 1);
    const Tensor out = model.forward(imgs, masked, token_ids).loss;
    backward(out);
    if (!again) loss = static_cast<float>(out.item());
    CHECK(out.item() == loss);
    for (const auto& [name, tensor] : model.named_parameters()) {
      INFO(name);
      const auto have = grad(tensor).to_vector<float>();
      if (!again) gradients[name] = have;
      CHECK(have == gradients[name]);
    }
  }
}

TEST_CASE("in 16 bits BEiT computes what it computes in 32, to 16 bits") {
  BeitConfig config = small_beit(GENERATE(RelativeBias::kShared, RelativeBias::kPerBlock));
  Beit model(config, 1);
  const Tensor imgs = random_pictures(config, 2, 6), token_ids = random_tokens(config, 2, 3);
  const MaskedPatches masked = masked_patches(uneven_mask(), 4);
  std::map<std::string, Tensor> exact;
  const Tensor loss = model.forward(imgs, masked, token_ids).loss;
  backward(loss);
  for (const auto& [name, tensor] : model.named_parameters()) {
    exact[name] = raw::clone(grad(tensor));
    zero_grad(tensor);
  }
  const Autocast autocast(DType::kBF16);
  const BeitOutput low = model.forward(imgs, masked, token_ids);
  CHECK(low.logits.dtype() == DType::kBF16);
  CHECK(low.loss.dtype() == DType::kF32);
  CHECK(low.loss.item() == Approx(loss.item()).epsilon(0.01));
  backward(low.loss);
  double distance = 0, norm = 0;
  for (const auto& [name, tensor] : model.named_parameters()) {
    INFO(name);
    REQUIRE(grad(tensor).dtype() == DType::kF32);
    const auto have = grad(tensor).to_vector<float>(), want = exact[name].to_vector<float>();
    for (size_t i = 0; i < want.size(); ++i) {
      distance += std::pow(have[i] - want[i], 2);
      norm += std::pow(want[i], 2);
    }
  }
  CHECK(std::sqrt(distance) < 0.02 * std::sqrt(norm));
  CHECK(distance > 0);  // it was 16 bits
}

TEST_CASE("a BEiT that cannot be built or fed is refused with its values") {
  const auto refusal = [](auto change) {
    BeitConfig config = small_beit();
    change(config);
    try {
      config.check();
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  using C = BeitConfig&;
  CHECK(refusal([](C) {}) == "accepted");
  CHECK_THAT(refusal([](C c) { c.image_width = 21; }), Catch::Contains("8x21"));
  CHECK_THAT(refusal([](C c) { c.patch = 0; }), Catch::Contains("patch 0"));
  CHECK_THAT(refusal([](C c) { c.head_dim = 0, c.heads = 5; }), Catch::Contains("5 heads"));
  CHECK_THAT(refusal([](C c) { c.depth = 0; }), Catch::Contains("depth 0"));
  CHECK_THAT(refusal([](C c) { c.mlp_ratio = NAN; }), Catch::Contains("MLP ratio nan"));
  CHECK_THAT(refusal([](C c) { c.vocab = 1; }), Catch::Contains("1 tokens"));
  CHECK_THAT(refusal([](C c) { c.drop_path = 1; }), Catch::Contains("drop path 1"));
  CHECK_THAT(refusal([](C c) { c.layer_scale = -1; }), Catch::Contains("-1"));
  CHECK_THROWS_WITH(beit_preset("vit_huge"), Catch::Contains("vit_tiny, vit_small, vit_base"));

  const BeitConfig config = small_beit();
  const Beit model(config, 1);
  const MaskedPatches masked = masked_patches(uneven_mask(), 3);
  const Tensor imgs = random_pictures(config, 2, 1);
  CHECK_THROWS_WITH(
      model.forward(Tensor::zeros({2, 3, 8, 16}), masked, random_tokens(config, 2, 1)),
      Catch::Contains("(B, 3, 8, 20)"));
  CHECK_THROWS_WITH(model.forward(imgs, masked, Tensor::zeros({2, 9}, DType::kI64)),
                    Catch::Contains("(2, 9)"));
  CHECK_THROWS_WITH(model.forward(imgs, masked, Tensor::full({2, 10}, 7, DType::kI64)),
                    Catch::Contains("label 7 of 7 classes"));
  CHECK_THROWS_WITH(masked_patches(uneven_mask(), 2), Catch::Contains("picture 0 has more than 2"));
  CHECK_THROWS_WITH(masked_patches(raw::to(Tensor::zeros({2, 10}), DType::kBool), 2),
                    Catch::Contains("no patch"));
}

}  // namespace
}  // namespace tessera
