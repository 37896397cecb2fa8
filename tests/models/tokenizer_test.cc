// Tokenizers: names and counts of the published ones, the formulas in plain loops, ids and back,
// and what a few steps of training do.
#include "models/tokenizer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <memory>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/dalle.h"
#include "models/dvae.h"
#include "nn/init.h"
#include "tests/nn/state_of.h"

namespace tessera {
namespace {

DvaeConfig small_dvae() {
  return {.channels = 3, .vocab = 6, .codebook_dim = 5, .layers = 2, .hidden = 4};
}
DalleConfig small_dalle() {
  return {.channels = 3, .vocab = 6, .width = 16, .blocks_per_group = 1, .decoder_width = 3};
}

std::unique_ptr<Tokenizer> small_tokenizer(int family) {
  if (family == 0) return std::make_unique<Dvae>(small_dvae(), 1);
  return std::make_unique<Dalle>(small_dalle(), 1);
}

TokenizerStep step_of(double temperature, double kl_weight, bool straight_through,
                      DType dtype = DType::kF32) {
  return {.temperature = Tensor::full({}, temperature, dtype),
          .kl_weight = Tensor::full({}, kl_weight, dtype),
          .straight_through = straight_through};
}

Tensor pictures(int64_t batch, int64_t height, int64_t width, DType dtype = DType::kF32) {
  return raw::uniform({batch, 3, height, width}, {7, 0, kSitePicture}, 0, 1, dtype);
}

// A plain convolution in double, zeros around the picture: x (C, H, W) -> (O, oh, ow).
struct Planes {
  int64_t channels, height, width;
  std::vector<double> values;
  double at(int64_t c, int64_t y, int64_t x) const {
    if (y < 0 || y >= height || x < 0 || x >= width) return 0;
    return values[(c * height + y) * width + x];
  }
};

Planes convolve(const Planes& in, const Tensor& w, const Tensor& b, int64_t stride, int64_t pad) {
  const auto weights = w.to_vector<double>(), bias = b.to_vector<double>();
  const int64_t out = w.size(0), k = w.size(2);
  Planes y{out, (in.height + 2 * pad - k) / stride + 1, (in.width + 2 * pad - k) / stride + 1, {}};
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < y.height; ++i) {
      for (int64_t j = 0; j < y.width; ++j) {
        double sum = bias[o];
        for (int64_t c = 0; c < in.channels; ++c) {
          for (int64_t u = 0; u < k; ++u) {
            for (int64_t v = 0; v < k; ++v) {
              sum += weights[((o * in.channels + c) * k + u) * k + v] *
                     in.at(c, i * stride + u - pad, j * stride + v - pad);
            }
          }
        }
        y.values.push_back(sum);
      }
    }
  }
  return y;
}

Planes relu_of(Planes x) {
  for (double& v : x.values) v = std::max(v, 0.0);
  return x;
}

void randomize(Module& module, uint64_t seed) {
  uint32_t index = 0;
  module.visit([&](const std::string&, Tensor& t, StateKind) {
    // Convolutions neither grow nor shrink what passes through them.
    const double bound =
        t.ndim() == 4 ? std::sqrt(3.0 * double(t.size(0)) / double(t.numel())) : 0.5;
    t = raw::uniform(t.shape(), init::weight_key(seed, index++), -bound, bound, DType::kF64);
    set_requires_grad(t);
  });
}

TEST_CASE("DALL-E's halves have the published names and counts") {
  const DalleConfig config;  // 8192 tokens, width 256
  const DalleHalf encoder(config, DalleHalf::kEncoder), decoder(config, DalleHalf::kDecoder);
  CHECK(encoder.parameter_count() == 53'786'240);
  CHECK(decoder.parameter_count() == 43'829'766);
  const auto down = state_of(encoder), up = state_of(decoder);
  CHECK(down.at("blocks.input.w").shape() == Shape{256, 3, 7, 7});
  CHECK(down.at("blocks.group_1.block_2.res_path.conv_4.w").shape() == Shape{256, 64, 1, 1});
  CHECK_FALSE(down.contains("blocks.group_1.block_1.id_path.w"));
  CHECK(down.at("blocks.group_2.block_1.id_path.w").shape() == Shape{512, 256, 1, 1});
  CHECK_FALSE(down.contains("blocks.group_2.block_2.id_path.w"));
  CHECK(down.at("blocks.group_4.block_2.res_path.conv_1.w").shape() == Shape{512, 2048, 3, 3});
  CHECK(down.at("blocks.output.conv.b").shape() == Shape{8192});
  CHECK(up.at("blocks.input.w").shape() == Shape{128, 8192, 1, 1});
  CHECK(up.at("blocks.group_1.block_1.res_path.conv_1.w").shape() == Shape{512, 128, 1, 1});
  CHECK(up.at("blocks.group_4.block_1.id_path.b").shape() == Shape{256});
  CHECK(up.at("blocks.output.conv.w").shape() == Shape{6, 256, 1, 1});
}

TEST_CASE("DALL-E's encoder is its formula") {
  Dalle model(small_dalle());
  randomize(model.encoder(), 3);
  const auto w = state_of(model.encoder());
  const Tensor imgs = pictures(1, 8, 16, DType::kF64);
  Planes x{3, 8, 16, model.prepare(imgs).to_vector<double>()};
  CHECK(x.values[5] == Approx(0.8 * imgs.to_vector<double>()[5] + 0.1));
  x = convolve(x, w.at("blocks.input.w"), w.at("blocks.input.b"), 1, 3);
  for (int group = 1; group <= 4; ++group) {
    if (group > 1) {  // the largest of each 2 x 2
      Planes half{x.channels, x.height / 2, x.width / 2, {}};
      for (int64_t c = 0; c < x.channels; ++c) {
        for (int64_t i = 0; i < half.height; ++i) {
          for (int64_t j = 0; j < half.width; ++j) {
            half.values.push_back(
                std::max({x.at(c, 2 * i, 2 * j), x.at(c, 2 * i, 2 * j + 1),
                          x.at(c, 2 * i + 1, 2 * j), x.at(c, 2 * i + 1, 2 * j + 1)}));
          }
        }
      }
      x = half;
    }
    const std::string block = "blocks.group_" + std::to_string(group) + ".block_1.";
    Planes y = x;
    for (int i = 1; i <= 4; ++i) {
      const std::string conv = block + "res_path.conv_" + std::to_string(i);
      y = convolve(relu_of(y), w.at(conv + ".w"), w.at(conv + ".b"), 1, i == 4 ? 0 : 1);
    }
    if (group > 1) x = convolve(x, w.at(block + "id_path.w"), w.at(block + "id_path.b"), 1, 0);
    for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i] / 16;  // 4 blocks
  }
  x = convolve(relu_of(x), w.at("blocks.output.conv.w"), w.at("blocks.output.conv.b"), 1, 0);
  const Tensor logits = model.logits(model.prepare(imgs));
  REQUIRE(logits.shape() == Shape{1, 6, 1, 2});
  const auto have = logits.to_vector<double>();
  for (size_t i = 0; i < have.size(); ++i) CHECK(have[i] == Approx(x.values[i]).margin(1e-12));
}

// Each pixel twice, down and across.
Planes doubled(const Planes& x) {
  Planes y{x.channels, 2 * x.height, 2 * x.width, {}};
  for (int64_t c = 0; c < y.channels; ++c) {
    for (int64_t i = 0; i < y.height; ++i) {
      for (int64_t j = 0; j < y.width; ++j) y.values.push_back(x.at(c, i / 2, j / 2));
    }
  }
  return y;
}

TEST_CASE("DALL-E's decoder is its formula") {
  DalleConfig config = small_dalle();
  config.blocks_per_group = 2;
  Dalle model(config);
  randomize(model.decoder(), 4);
  const auto w = state_of(model.decoder());
  const auto conv = [&](const Planes& in, const std::string& name, int64_t pad) {
    return convolve(in, w.at(name + ".w"), w.at(name + ".b"), 1, pad);
  };
  const Tensor mixture = softmax(raw::uniform({1, 6, 1, 2}, {5, 0, 0}, -3, 3, DType::kF64), 1);
  Planes x = conv({6, 1, 2, mixture.to_vector<double>()}, "blocks.input", 0);
  for (int group = 1; group <= 4; ++group) {
    if (group > 1) x = doubled(x);
    for (int index = 1; index <= 2; ++index) {
      const std::string block =
          "blocks.group_" + std::to_string(group) + ".block_" + std::to_string(index) + ".";
      Planes y = x;
      for (int i = 1; i <= 4; ++i) {  // here the first of four is 1 x 1
        y = conv(relu_of(y), block + "res_path.conv_" + std::to_string(i), i == 1 ? 0 : 1);
      }
      if (index == 1) x = conv(x, block + "id_path", 0);
      for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i] / 64;  // 8 blocks
    }
  }
  x = conv(relu_of(x), "blocks.output.conv", 0);
  const Tensor painted = model.paint(mixture).detach();
  REQUIRE(painted.shape() == Shape{1, 6, 8, 16});
  const auto have = painted.to_vector<double>(), seen = model.picture(painted).to_vector<double>();
  REQUIRE(seen.size() == have.size() / 2);  // the means alone are seen
  for (size_t i = 0; i < have.size(); ++i) {
    CHECK(have[i] == Approx(x.values[i]).epsilon(1e-10).margin(1e-12));
    if (i >= seen.size()) continue;
    const double level = (1 / (1 + std::exp(-x.values[i])) - 0.1) / 0.8;
    CHECK(seen[i] == Approx(std::clamp(level, 0.0, 1.0)).epsilon(1e-10).margin(1e-12));
  }
}

TEST_CASE("DALL-E's loss is the negative logarithm of the logit-Laplace density") {
  const Dalle model(small_dalle());
  const Tensor x = model.prepare(pictures(2, 8, 8, DType::kF64));
  const Tensor stats = raw::uniform({2, 6, 8, 8}, {1, 0, 0}, -1, 1, DType::kF64);
  const auto xs = x.to_vector<double>(), s = stats.to_vector<double>();
  double total = 0;
  for (int b = 0; b < 2; ++b) {
    for (int i = 0; i < 192; ++i) {
      const double v = xs[b * 192 + i], mu = s[b * 384 + i], scale = std::exp(s[b * 384 + 192 + i]);
      const double density =
          std::exp(-std::abs(std::log(v / (1 - v)) - mu) / scale) / (2 * scale * v * (1 - v));
      total -= std::log(density) / 384;
    }
  }
  CHECK(model.reconstruction_loss(stats, x).item() == Approx(total).epsilon(1e-12));
  // The density integrates to one, so the formula is the right one.
  double area = 0;
  for (int i = 0; i < 200000; ++i) {
    const double v = (i + 0.5) / 200000;
    area +=
        std::exp(-std::abs(std::log(v / (1 - v)) - 0.3) / 0.7) / (2 * 0.7 * v * (1 - v)) / 200000;
  }
  CHECK(area == Approx(1).epsilon(1e-3));
}

TEST_CASE("the discrete VAE's initial weights are PyTorch's defaults") {
  DvaeConfig config = small_dvae();
  config.hidden = 16;
  config.vocab = 64;
  config.codebook_dim = 24;
  const Dvae model(config, 1);
  const auto state = state_of(model);
  const std::map<std::string, double> inputs = {// fan_in
                                                {"encoder.0.0.weight", 3 * 16},
                                                {"encoder.0.0.bias", 3 * 16},
                                                {"encoder.1.net.0.weight", 16 * 9},
                                                {"encoder.1.net.4.bias", 16},
                                                {"decoder.0.0.weight", 16 * 16},
                                                {"decoder.0.0.bias", 16 * 16},
                                                {"decoder.4.weight", 16}};
  for (const auto& [name, fan_in] : inputs) {
    INFO(name);
    const double largest = raw::amax(abs(state.at(name).detach()), {}, false).item();
    CHECK(largest <= 1 / std::sqrt(fan_in));
    CHECK(largest > 0.8 / std::sqrt(fan_in));
  }
  const Tensor codebook = state.at("codebook.weight").detach();
  CHECK(codebook.shape() == Shape{64, 24});
  CHECK(mean(square(codebook)).item() == Approx(1).epsilon(0.1));
}

TEST_CASE("ids of a picture, and a picture of ids") {
  const int family = GENERATE(0, 1);
  const auto model = small_tokenizer(family);
  const int64_t span = family == 0 ? 4 : 8;
  CHECK(model->reduction() == span);
  const Tensor imgs = pictures(2, 16, 24);
  const Tensor ids = model->encode(imgs);
  CHECK(ids.shape() == Shape{2, 16 / span, 24 / span});
  CHECK(ids.dtype() == DType::kI64);
  const auto logits = model->logits(model->prepare(imgs)).to_vector<float>();
  const int64_t grid = 16 / span * (24 / span);
  const auto named = ids.to_vector<int64_t>();
  for (int64_t i = 0; i < 2 * grid; ++i) {
    const float* column = logits.data() + i / grid * 6 * grid + i % grid;
    for (int v = 0; v < 6; ++v) CHECK(column[named[i] * grid] >= column[v * grid]);
  }
  const Tensor back = model->decode(ids);
  CHECK(back.shape() == imgs.shape());
  for (const float v : back.to_vector<float>()) CHECK((v >= 0 && v <= 1));
  // What is painted from a token does depend on it.
  const Tensor other = model->decode(Tensor::zeros(ids.shape(), DType::kI64));
  const Tensor another = model->decode(Tensor::full(ids.shape(), 1, DType::kI64));
  CHECK(other.to_vector<float>() != another.to_vector<float>());
  CHECK_THROWS_WITH(model->encode(pictures(1, 16, 25)), Catch::Contains("multiples of"));
  CHECK_THROWS_WITH(model->encode(Tensor::zeros({1, 1, 16, 16})),
                    Catch::Contains("(1, 1, 16, 16)"));
  CHECK_THROWS(model->decode(Tensor::full(ids.shape(), 6, DType::kI64)));
}

TEST_CASE("the parts of the loss, and a straight-through mixture") {
  const auto model = small_tokenizer(GENERATE(0, 1));
  const Tensor x = model->prepare(pictures(2, 8, 16));
  const Shape grid = model->logits(x).shape();
  const Tensor gumbel = gumbel_noise(grid, {1, 2, 3});
  const TokenizerOutput out = model->forward(x, gumbel, step_of(0.5, 0.3, false));
  CHECK(out.loss.item() == Approx(out.reconstruction.item() + 0.3 * out.kl.item()).epsilon(1e-6));
  const auto logits = out.logits.to_vector<float>();
  const int64_t positions = grid[2] * grid[3];
  double kl = 0;
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t p = 0; p < positions; ++p) {
      const float* column = logits.data() + b * 6 * positions + p;
      double sum = 0;
      for (int v = 0; v < 6; ++v) sum += std::exp(double(column[v * positions]));
      for (int v = 0; v < 6; ++v) {
        const double q = std::exp(double(column[v * positions])) / sum;
        kl += q * std::log(q * 6) / double(2 * positions);
      }
    }
  }
  CHECK(out.kl.item() == Approx(kl).epsilon(1e-4).margin(1e-7));

  // Straight through: what is painted is what decode() paints from the noisy logits' best tokens.
  const TokenizerOutput hard = model->forward(x, gumbel, step_of(0.5, 0, true));
  const Tensor ids = argmax(hard.logits.detach() + gumbel, 1);
  const auto want = model->decode(ids).to_vector<float>();
  const auto have = model->picture(hard.raw.detach()).to_vector<float>();
  for (size_t i = 0; i < want.size(); ++i) REQUIRE(have[i] == Approx(want[i]).margin(1e-5));
  backward(hard.loss);
  for (const auto& [name, tensor] : model->named_parameters()) {
    INFO(name);
    CHECK(raw::sum_squares(grad(tensor)).item() > 0);  // the encoder's, too
  }
}

TEST_CASE("a tokenizer learns in 16 bits, too") {
  const auto model = small_tokenizer(GENERATE(0, 1));
  const Tensor x = model->prepare(pictures(2, 16, 16));
  const Tensor gumbel = gumbel_noise(model->logits(x).shape(), {1, 2, 3});
  const TokenizerStep step = step_of(0.8, 0.1, GENERATE(false, true));
  const double exact = model->forward(x, gumbel, step).loss.item();
  const Autocast autocast(DType::kBF16);
  const TokenizerOutput out = model->forward(x, gumbel, step);
  // Straight through, one noisy logit that tips over changes a whole token.
  if (!step.straight_through) CHECK(out.loss.item() == Approx(exact).epsilon(0.02));
  backward(out.loss);
  for (const auto& [name, tensor] : model->named_parameters()) {
    INFO(name);
    CHECK(std::isfinite(raw::sum_squares(grad(tensor)).item()));
  }
}

TEST_CASE("gradients of a whole tokenizer agree with differences of its loss") {
  const auto model = small_tokenizer(GENERATE(0, 1));
  randomize(*model, 5);
  const Tensor x = model->prepare(pictures(1, 16, 16, DType::kF64));
  const Shape grid = model->logits(x).shape();
  const Tensor gumbel = raw::to(gumbel_noise(grid, {1, 2, 3}), DType::kF64);
  const TokenizerStep step = step_of(0.8, 0.1, false, DType::kF64);
  backward(model->forward(x, gumbel, step).loss);
  const NoGrad no_grad;
  for (const auto& [name, tensor] : model->named_parameters()) {
    INFO(name);
    const Tensor direction = raw::uniform(tensor.shape(), {11, 0, 0}, -1, 1, DType::kF64);
    const double slope = sum(grad(tensor) * direction).item();
    // Small enough that hardly a ReLU or a maximum changes sides.
    const double by = 1e-7;
    raw::add_(tensor, mul_scalar(direction, by));
    const double above = model->forward(x, gumbel, step).loss.item();
    raw::add_(tensor, mul_scalar(direction, -2 * by));
    const double below = model->forward(x, gumbel, step).loss.item();
    raw::add_(tensor, mul_scalar(direction, by));
    CHECK((above - below) / (2 * by) == Approx(slope).epsilon(1e-4).margin(1e-7));
  }
}

TEST_CASE("Gumbel noise has its distribution and no infinity") {
  const auto noise = gumbel_noise({200000}, {1, 2, 3}).to_vector<float>();
  double sum = 0, squares = 0;
  for (const float v : noise) {
    REQUIRE(std::isfinite(v));
    sum += v;
    squares += double(v) * v;
  }
  const double mean = sum / 200000, deviation = std::sqrt(squares / 200000 - mean * mean);
  CHECK(mean == Approx(0.5772).margin(0.015));  // Euler's constant
  CHECK(deviation == Approx(M_PI / std::sqrt(6.0)).margin(0.015));
}

TEST_CASE("tokenizers that cannot be built are refused") {
  DvaeConfig dvae = small_dvae();
  dvae.layers = 0;
  CHECK_THROWS_WITH(Dvae(dvae), Catch::Contains("0 tokenizer layers"));
  dvae = small_dvae();
  dvae.vocab = 1;
  CHECK_THROWS_WITH(Dvae(dvae), Catch::Contains("1 tokens"));
  DalleConfig dalle = small_dalle();
  dalle.width = 6;
  CHECK_THROWS_WITH(Dalle(dalle), Catch::Contains("width 6"));
}

}  // namespace
}  // namespace tessera
