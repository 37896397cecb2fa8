// One encoder for all models: the same tokens as the model the weights come from, attention that
// adds up, rollout against its definition.
#include "models/encoder.h"

#include <catch2/catch.hpp>

#include "autograd/functions.h"
#include "models/transfer.h"
#include "tests/models/small_beit.h"
#include "tests/models/small_classifier.h"
#include "tests/models/small_mae.h"
#include "tests/nn/state_of.h"

namespace tessera {
namespace {

// Weights in f32 that hide nothing behind a zero.
void randomize_f32(Module& model) {
  randomize(model, 6);
  model.visit([](const std::string&, Tensor& t, StateKind kind) {
    if (kind != StateKind::kBuffer) t = raw::to(t.detach(), DType::kF32);
  });
}

TEST_CASE("a MAE's encoder sees whole pictures as the MAE does") {
  const MaeConfig config = small_config();
  const Mae mae(config, 3);
  VitEncoder encoder(encoder_of(config), FinalNorm::kTokens);
  encoder.load(state_of(mae));
  const NoGrad no_grad;
  const Tensor imgs = random_images(config, 2, 4);
  const std::vector<Tensor> tokens = encoder.tokens(imgs);
  REQUIRE(tokens.size() == 2);
  const Tensor all = mae.encode(imgs);  // normed
  CHECK(encoder.finished(tokens[1], true).to_vector<float>() == all.to_vector<float>());
  CHECK(encoder.finished(tokens[1], false).is_same(tokens[1]));
  const Tensor pooled = encoder.pooled(tokens[1], true);  // (2, 2, D)
  REQUIRE(pooled.shape() == Shape{2, 2, config.dim});
  check_close(select(pooled, 1, 0), select(all, 1, 0));
  check_close(select(pooled, 1, 1), mean(slice(all, 1, 1, all.size(1)), {1}));
  // Another block is another layer's answer, before any norm.
  check_close(select(encoder.pooled(tokens[0], false), 1, 0), select(tokens[0], 1, 0));
  CHECK(tokens[0].to_vector<float>() != tokens[1].to_vector<float>());
}

TEST_CASE("a BEiT's encoder, with either kind of position") {
  for (const RelativeBias bias : {RelativeBias::kShared, RelativeBias::kNone}) {
    Beit beit(small_beit(bias));
    randomize_f32(beit);
    VitEncoder encoder(beit.config(), FinalNorm::kTokens);
    encoder.load(state_of(beit));
    const NoGrad no_grad;
    const Tensor imgs = random_pictures(beit.config(), 2, 4);
    const std::vector<Tensor> tokens = encoder.tokens(imgs);
    CHECK(encoder.finished(tokens.back(), true).to_vector<float>() ==
          beit.encode(imgs).to_vector<float>());
  }
}

TEST_CASE("a classifier's encoder gives the features that its head sees") {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kClassToken}) {
    VitClassifier model(classifier_of(small_beit(RelativeBias::kPerBlock), pooling));
    randomize_f32(model);
    const bool mean_pooled = pooling == Pooling::kMean;
    VitEncoder encoder(model.config(), mean_pooled ? FinalNorm::kPooled : FinalNorm::kTokens);
    encoder.load(state_of(model));
    const NoGrad no_grad;
    const Tensor imgs = random_pictures(model.config(), 3, 4);
    const Tensor pooled = encoder.pooled(encoder.tokens(imgs).back(), true);
    check_close(select(pooled, 1, mean_pooled ? 1 : 0), model.features(imgs));
  }
}

TEST_CASE("weights that are missing or do not fit are named") {
  const MaeConfig config = small_config();
  auto weights = state_of(Mae(config, 3));
  VitEncoder encoder(encoder_of(config), FinalNorm::kTokens);
  const Tensor taken = weights.at("norm.bias");
  weights.erase("norm.bias");
  CHECK_THROWS_WITH(encoder.load(weights), Catch::Contains("'norm.bias' is missing"));
  weights["norm.bias"] = Tensor::zeros({5});
  CHECK_THROWS_WITH(encoder.load(weights), Catch::Contains("norm.bias"));
  weights["norm.bias"] = taken;
  encoder.load(weights);
  VitConfig wrong = encoder_of(config);
  wrong.patch = 3;
  CHECK_THROWS_WITH(VitEncoder(wrong, FinalNorm::kTokens), Catch::Contains("patch size 3"));
}

TEST_CASE("attention of every block: shares that add up, and no gradient") {
  Beit beit(small_beit());
  randomize_f32(beit);
  VitEncoder encoder(beit.config(), FinalNorm::kTokens);
  encoder.load(state_of(beit));
  const std::vector<Tensor> maps = encoder.attention(random_pictures(beit.config(), 2, 4));
  REQUIRE(maps.size() == 2);
  for (const Tensor& map : maps) {
    CHECK(map.shape() == Shape{2, 3, 11, 11});
    CHECK_FALSE(requires_grad(map));
    for (const float row : sum(map, {3}).to_vector<float>()) CHECK(row == Approx(1).epsilon(1e-6));
  }
  // The shared bias has its part: without it the shares are others.
  auto weights = state_of(beit);
  weights["rel_pos_bias.relative_position_bias_table"] =
      Tensor::zeros(weights["rel_pos_bias.relative_position_bias_table"].shape());
  VitEncoder flat(beit.config(), FinalNorm::kTokens);
  flat.load(weights);
  CHECK(flat.attention(random_pictures(beit.config(), 2, 4))[0].to_vector<float>() !=
        maps[0].to_vector<float>());
}

TEST_CASE("rollout is the product of half the mean attention and half the identity") {
  const int64_t batch = 2, heads = 3, n = 4;
  std::vector<Tensor> attention;
  for (uint32_t block = 0; block < 3; ++block) {
    attention.push_back(
        softmax(raw::uniform({batch, heads, n, n}, {1, block, kSitePicture}, -2, 2), -1));
  }
  const std::vector<float> have = attention_rollout(attention).to_vector<float>();
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<double> want(n * n, 0.0);
    for (int64_t i = 0; i < n; ++i) want[i * n + i] = 1;
    for (const Tensor& block : attention) {
      const std::vector<float> values = block.to_vector<float>();
      std::vector<double> next(n * n, 0.0);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t k = 0; k < n; ++k) {
          double passed = i == k ? 0.5 : 0;
          for (int64_t h = 0; h < heads; ++h) {
            passed += 0.5 * values[((b * heads + h) * n + i) * n + k] / heads;
          }
          for (int64_t j = 0; j < n; ++j) next[i * n + j] += passed * want[k * n + j];
        }
      }
      want = next;
    }
    for (int64_t i = 0; i < n * n; ++i) CHECK(have[b * n * n + i] == Approx(want[i]).margin(1e-6));
  }
  CHECK_THROWS_WITH(attention_rollout({}), Catch::Contains("at least one"));
}

}  // namespace
}  // namespace tessera
