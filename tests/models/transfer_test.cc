// Encoders into classifiers: the same features at the same size, sensible tables at another.
#include "models/transfer.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/functions.h"
#include "models/cubic_spline.h"
#include "tests/models/small_beit.h"
#include "tests/models/small_classifier.h"
#include "tests/models/small_mae.h"
#include "tests/nn/state_of.h"

namespace tessera {
namespace {

TEST_CASE("a MAE's encoder gives the same features in a classifier") {
  const MaeConfig mae_config = small_config();
  const Mae mae(mae_config, 3);
  VitClassifier model(classifier_of(encoder_of(mae_config), Pooling::kClassToken), 1);
  load_encoder(model, state_of(mae), {2, 5});
  const NoGrad no_grad;
  const Tensor imgs = random_images(mae_config, 2, 4);
  check_close(model.features(imgs), select(mae.encode(imgs), 1, 0));
}

TEST_CASE("a BEiT's encoder gives the same features in a classifier, its shared bias copied") {
  const RelativeBias bias =
      GENERATE(RelativeBias::kShared, RelativeBias::kPerBlock, RelativeBias::kNone);
  const BeitConfig beit_config = small_beit(bias);
  Beit beit(beit_config, 3);
  for (const auto& [name, tensor] : beit.named_parameters()) {
    if (name.ends_with("bias_table")) raw::copy_(tensor, raw::normal(tensor.shape(), {1, 2, 3}));
  }
  VitClassifier model(classifier_of(encoder_of(beit_config), Pooling::kClassToken), 1);
  load_encoder(model, state_of(beit), {2, 5});
  const NoGrad no_grad;
  const Tensor imgs = random_pictures(beit_config, 2, 4);
  check_close(model.features(imgs), select(beit.encode(imgs), 1, 0));
}

TEST_CASE("fc_norm and head stay as they were, everything else comes from the encoder") {
  const Mae mae(small_config(), 3);
  VitClassifier model(classifier_of(encoder_of(small_config()), Pooling::kMean), 1);
  const Tensor head = raw::clone(state_of(model).at("head.weight"));
  load_encoder(model, state_of(mae), {2, 5});
  const auto have = state_of(model), want = state_of(mae);
  CHECK(have.at("head.weight").to_vector<float>() == head.to_vector<float>());
  for (const auto& [name, tensor] : have) {
    INFO(name);
    if (name.starts_with("head.") || name.starts_with("fc_norm.")) continue;
    CHECK(tensor.to_vector<float>() == want.at(name).to_vector<float>());
  }
}

TEST_CASE("what is missing or left over is named") {
  const Mae mae(small_config(), 3);
  const VitConfig encoder = encoder_of(small_config());
  VitClassifier model(classifier_of(encoder, Pooling::kMean), 1);
  auto weights = state_of(mae);
  const Tensor taken = weights.at("blocks.1.mlp.fc1.bias");
  weights.erase("blocks.1.mlp.fc1.bias");
  CHECK_THROWS_WITH(load_encoder(model, weights, {2, 5}),
                    Catch::Contains("'blocks.1.mlp.fc1.bias' is missing"));
  weights["blocks.1.mlp.fc1.bias"] = taken;
  weights["blocks.2.mlp.fc1.bias"] = taken;
  CHECK_THROWS_WITH(load_encoder(model, weights, {2, 5}),
                    Catch::Contains("has no 'blocks.2.mlp.fc1.bias'"));
  weights.erase("blocks.2.mlp.fc1.bias");
  CHECK_THROWS_WITH(load_encoder(model, weights, {5, 5}), Catch::Contains("1 + 5 x 5 positions"));
  VitConfig other = encoder;
  other.qkv_bias = QkvBias::kQueryValue;
  VitClassifier wrong(classifier_of(other, Pooling::kMean), 1);
  CHECK_THROWS_WITH(load_encoder(wrong, weights, {2, 5}), Catch::Contains("attn.q_bias"));
}

TEST_CASE("positions of another grid: the class token's stays, a plane stays a plane") {
  const Grid from = {4, 6}, to = {7, 9};
  std::vector<float> values = {100, 200};
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 6; ++x) {
      values.push_back(3);
      values.push_back(static_cast<float>(y - 2 * x));
    }
  }
  const Tensor table = Tensor::from(values, {1, 25, 2});
  CHECK(resize_positions(table, from, from).is_same(table));
  const Tensor resized = resize_positions(table, from, to);
  REQUIRE(resized.shape() == Shape{1, 64, 2});
  const auto have = resized.to_vector<float>();
  CHECK(have[0] == 100);
  CHECK(have[1] == 200);
  for (int y = 0; y < 7; ++y) {
    for (int x = 0; x < 9; ++x) {
      const size_t at = static_cast<size_t>(2 * (1 + y * 9 + x));
      CHECK(have[at] == Approx(3).epsilon(1e-5));
      const bool inside = y >= 2 && y < 5 && x >= 2 && x < 7;  // all four taps are patches
      const double want = ((y + 0.5) * 4 / 7 - 0.5) - 2 * ((x + 0.5) * 6 / 9 - 0.5);
      if (inside) CHECK(have[at + 1] == Approx(want).margin(0.2));  // a = -0.75 bends a plane a bit
    }
  }
  CHECK_THROWS_WITH(resize_positions(table, {5, 5}, to), Catch::Contains("(1, 25, 2)"));
}

TEST_CASE("a spline goes through its points, keeps cubics, and is one cubic at either end") {
  const std::vector<double> x = {-3.1, -2, -0.5, 0, 0.4, 2.2, 3};
  const auto value_at = [&](const std::vector<double>& y, double t) {
    const std::vector<double> at = {t}, w = cubic_spline_weights(x, at);
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += w[i] * y[i];
    return sum;
  };
  std::vector<double> cubic, rough = {1, -2, 0.5, 3, 3, -1, 0};
  const auto f = [](double t) { return 0.3 * t * t * t - t * t + 0.7 * t + 2; };
  for (const double t : x) cubic.push_back(f(t));
  for (double t = -3.1; t <= 3; t += 0.07) CHECK(value_at(cubic, t) == Approx(f(t)).margin(1e-12));
  for (size_t i = 0; i < x.size(); ++i) {
    CHECK(value_at(rough, x[i]) == Approx(rough[i]).margin(1e-12));
  }
  CHECK(value_at(rough, -9) == Approx(1));  // the nearest end
  CHECK(value_at(rough, 9) == Approx(0).margin(1e-12));
  // Not-a-knot: the first two pieces are one cubic, and so are the last two. Fourth differences
  // over evenly spaced points of both pieces vanish.
  for (const auto& [first, last] : {std::pair{x[0], x[2]}, std::pair{x[4], x[6]}}) {
    const double h = (last - first) / 4;
    const double fourth = value_at(rough, first) - 4 * value_at(rough, first + h) +
                          6 * value_at(rough, first + 2 * h) - 4 * value_at(rough, first + 3 * h) +
                          value_at(rough, last);
    CHECK(fourth == Approx(0).margin(1e-11));
  }
  // Slope and bend are continuous everywhere.
  for (size_t i = 1; i + 1 < x.size(); ++i) {
    const double e = 1e-4;
    const double left =
        value_at(rough, x[i]) - 2 * value_at(rough, x[i] - e) + value_at(rough, x[i] - 2 * e);
    const double right =
        value_at(rough, x[i]) - 2 * value_at(rough, x[i] + e) + value_at(rough, x[i] + 2 * e);
    CHECK(left / (e * e) == Approx(right / (e * e)).margin(0.05));
  }
  const std::vector<double> few = {0, 1, 2};
  CHECK_THROWS_WITH(cubic_spline_weights(few, few), Catch::Contains("3 points"));
}

TEST_CASE("a relative bias that is a cubic of the distance stays one on a larger grid") {
  // The old table's distances on the new grid's scale: 1 + q + q^2 + ..., six of them up to 10.
  double q = 1.2;
  for (int i = 0; i < 200; ++i) {  // Newton without the derivative's care
    const double sum = (1 - std::pow(q, 6)) / (1 - q);
    q -= (sum - 10) / 60;
  }
  std::vector<double> distance = {0};
  for (int i = 0; i < 6; ++i) distance.push_back(distance.back() + std::pow(q, i));
  const auto at = [&](int d) { return d < 0 ? -distance[-d] : distance[d]; };
  const auto f = [](double y, double x, int head) {
    return 0.01 * y * y * y - 0.2 * x * x + (head + 1) * 0.1 * x * y + 1;
  };
  const Grid from = {7, 7}, to = {11, 11};
  std::vector<float> table;
  for (int y = -6; y <= 6; ++y) {
    for (int x = -6; x <= 6; ++x) {
      for (int h = 0; h < 2; ++h) table.push_back(static_cast<float>(f(at(y), at(x), h)));
    }
  }
  for (int i = 0; i < 6; ++i) table.push_back(static_cast<float>(50 + i));  // the class token's
  const Tensor old = Tensor::from(table, {13 * 13 + 3, 2});
  CHECK(resize_relative_bias(old, from, from).is_same(old));
  const auto have = resize_relative_bias(old, from, to).to_vector<float>();
  REQUIRE(have.size() == (21 * 21 + 3) * 2);
  for (int y = -10; y <= 10; ++y) {
    for (int x = -10; x <= 10; ++x) {
      for (int h = 0; h < 2; ++h) {
        const size_t i = static_cast<size_t>(((y + 10) * 21 + x + 10) * 2 + h);
        CHECK(have[i] == Approx(f(y, x, h)).margin(1e-3));
      }
    }
  }
  for (int i = 0; i < 6; ++i) CHECK(have[21 * 21 * 2 + i] == 50 + i);
  // Rows alone can grow; a grid too small for a cubic is refused.
  const Tensor flat = Tensor::full({13 * 13 + 3, 2}, 4);
  const Tensor tall = resize_relative_bias(flat, from, {9, 7});
  REQUIRE(tall.shape() == Shape{17 * 13 + 3, 2});
  for (const float v : tall.to_vector<float>()) CHECK(v == Approx(4));
  CHECK_THROWS_WITH(resize_relative_bias(Tensor::zeros({12, 2}), {2, 2}, {4, 4}),
                    Catch::Contains("2 patches a side"));
  CHECK_THROWS_WITH(resize_relative_bias(flat, {6, 7}, to), Catch::Contains("(172, 2)"));
}

TEST_CASE("an encoder grows with its pictures") {
  BeitConfig beit_config = small_beit();
  beit_config.image_height = beit_config.image_width = 16;  // 4 x 4
  const Beit beit(beit_config, 3);
  VitConfig larger = encoder_of(beit_config);
  larger.image_height = 24;
  larger.image_width = 32;
  VitClassifier model(classifier_of(larger, Pooling::kMean), 1);
  load_encoder(model, state_of(beit), {4, 4});
  CHECK(state_of(model).at("blocks.1.attn.relative_position_bias_table").shape() ==
        Shape{11 * 15 + 3, 3});
  CHECK(model(random_pictures(larger, 1, 1)).shape() == Shape{1, 5});
}

TEST_CASE("layers of parameters") {
  CHECK(layer_of("cls_token", 12) == 0);
  CHECK(layer_of("mask_token", 12) == 0);
  CHECK(layer_of("pos_embed", 12) == 0);
  CHECK(layer_of("patch_embed.proj.bias", 12) == 0);
  CHECK(layer_of("blocks.0.norm1.weight", 12) == 1);
  CHECK(layer_of("blocks.11.attn.qkv.weight", 12) == 12);
  for (const char* name : {"norm.weight", "fc_norm.bias", "head.weight",
                           "rel_pos_bias.relative_position_bias_table"}) {
    CHECK(layer_of(name, 12) == 13);
  }
}

}  // namespace
}  // namespace tessera
