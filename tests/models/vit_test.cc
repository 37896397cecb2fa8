// The classifier: the references' names, both poolings, initial weights.
#include "models/vit.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "tests/models/small_beit.h"

namespace tessera {
namespace {

ClassifierConfig small_classifier(Pooling pooling = Pooling::kMean) {
  ClassifierConfig config;
  static_cast<VitConfig&>(config) = small_beit(RelativeBias::kNone);  // absolute positions
  config.qkv_bias = QkvBias::kAll;
  config.layer_scale = 0;
  config.classes = 5;
  config.pooling = pooling;
  return config;
}

std::set<std::string> names_of(const Module& model) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : model.state_dict()) names.insert(name);
  return names;
}

TEST_CASE("names of a MAE encoder with a head, pooled either way") {
  std::set<std::string> expected = {
      "cls_token",   "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
      "head.weight", "head.bias"};
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    for (const char* layer : {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}) {
      expected.insert(block + layer + ".weight");
      expected.insert(block + layer + ".bias");
    }
  }
  for (const Pooling pooling : {Pooling::kMean, Pooling::kClassToken}) {
    std::set<std::string> all = expected;
    const std::string norm = pooling == Pooling::kMean ? "fc_norm" : "norm";
    all.insert({norm + ".weight", norm + ".bias"});
    CHECK(names_of(VitClassifier(small_classifier(pooling))) == all);
  }
}

TEST_CASE("the fine-tuning BEiT-B has the published count") {
  ClassifierConfig config;
  static_cast<VitConfig&>(config) = BeitConfig();
  config.relative_bias = RelativeBias::kPerBlock;
  const VitClassifier model(config);
  CHECK(model.parameter_count() == 86'530'984);
  const std::set<std::string> names = names_of(model);
  CHECK(names.contains("blocks.11.attn.relative_position_bias_table"));
  CHECK(names.contains("blocks.11.attn.relative_position_index"));
  CHECK_FALSE(names.contains("rel_pos_bias.relative_position_bias_table"));
  CHECK_FALSE(names.contains("mask_token"));
}

TEST_CASE("features are the norm of the class token, or of the mean of the others") {
  const Pooling pooling = GENERATE(Pooling::kMean, Pooling::kClassToken);
  // Weights of the tower, a norm and no head: what BEiT's encode() returns is normed token by
  // token, so that its class token is one of the two.
  BeitConfig tower = small_beit(RelativeBias::kNone);
  Beit beit(tower);
  randomize(beit, 1);
  ClassifierConfig config;
  static_cast<VitConfig&>(config) = tower;
  config.classes = 5;
  config.pooling = pooling;
  VitClassifier model(config);
  randomize(model, 2);
  std::map<std::string, Tensor> weights;
  for (const auto& [name, tensor] : model.state_dict()) weights[name] = tensor;
  for (const auto& [name, tensor] : beit.state_dict()) {
    if (name == "mask_token" || name.starts_with("lm_head")) continue;
    if (!name.starts_with("norm.") || pooling == Pooling::kClassToken) weights[name] = tensor;
  }
  if (pooling == Pooling::kMean) {  // a norm that only standardises
    weights["fc_norm.weight"] = Tensor::full({12}, 1, DType::kF64);
    weights["fc_norm.bias"] = Tensor::zeros({12}, DType::kF64);
  }
  model.load_state_dict(weights);
  const NoGrad no_grad;
  const Tensor imgs = random_pictures(config, 3, 1, DType::kF64);
  const auto have = model.features(imgs).to_vector<double>();
  REQUIRE(have.size() == 3 * 12);
  if (pooling == Pooling::kClassToken) {
    const auto want = select(beit.encode(imgs), 1, 0).to_vector<double>();
    for (size_t i = 0; i < want.size(); ++i) CHECK(have[i] == Approx(want[i]).margin(1e-12));
  } else {
    for (int b = 0; b < 3; ++b) {
      double total = 0, squares = 0;
      for (int i = 0; i < 12; ++i) {
        total += have[b * 12 + i];
        squares += have[b * 12 + i] * have[b * 12 + i];
      }
      CHECK(total == Approx(0).margin(1e-9));
      CHECK(squares / 12 == Approx(1).epsilon(1e-3));  // the norm's eps takes the rest
    }
    // Patches are pooled alike: without positions their order is no matter.
    const Tensor no_positions = Tensor::zeros({1, 11, 12}, DType::kF64);
    weights["pos_embed"] = no_positions;
    model.load_state_dict(weights);
    const Tensor swapped = raw::cat({raw::slice(imgs, 3, 4, 20), raw::slice(imgs, 3, 0, 4)}, 3);
    const auto here = model.features(imgs).to_vector<double>();
    const auto there = model.features(swapped).to_vector<double>();
    for (size_t i = 0; i < here.size(); ++i) CHECK(there[i] == Approx(here[i]).margin(1e-10));
  }
  CHECK(model(imgs).shape() == Shape{3, 5});
}

TEST_CASE("the classifier's initial weights follow the references") {
  ClassifierConfig config = small_classifier();
  config.dim = 48;
  config.classes = 200;
  config.rescale_blocks = GENERATE(false, true);
  const VitClassifier model(config, 1);
  const auto deviation = [](const Tensor& t) { return std::sqrt(mean(square(t.detach())).item()); };
  for (const auto& [name, tensor] : model.named_parameters()) {
    INFO(name);
    if (name.starts_with("patch_embed")) {  // U(+-1/sqrt(48))
      const double bound = 1 / std::sqrt(48.0);
      CHECK(raw::amax(abs(tensor.detach()), {}, false).item() <= bound);
      CHECK(deviation(tensor) == Approx(bound / std::sqrt(3.0)).epsilon(0.25));
    } else if (name == "head.weight") {
      CHECK(deviation(tensor) == Approx(2e-5).epsilon(0.05));
    } else if (tensor.ndim() > 1) {
      double want = 0.02;
      const bool rescaled = name.ends_with("attn.proj.weight") || name.ends_with("mlp.fc2.weight");
      if (rescaled && config.rescale_blocks) want /= name.starts_with("blocks.0") ? M_SQRT2 : 2;
      CHECK(deviation(tensor) == Approx(want).epsilon(tensor.numel() > 700 ? 0.1 : 0.4));
    } else if (name.ends_with("weight")) {
      CHECK(tensor.to_vector<float>() == std::vector<float>(48, 1));
    } else {
      CHECK(deviation(tensor) == 0);
    }
  }
}

TEST_CASE("drop path rises from 0 in the first block to its rate in the last") {
  VitConfig config;
  config.drop_path = 0.2;
  config.depth = 5;
  for (int i = 0; i < 5; ++i) CHECK(config.block(i).drop_path == Approx(0.05 * i));
  config.depth = 1;
  CHECK(config.block(0).drop_path == 0);
}

TEST_CASE("a parameter's block is read from its name") {
  CHECK(block_of("blocks.0.norm1.weight") == 0);
  CHECK(block_of("blocks.17.attn.qkv.weight") == 17);
  for (const char* name :
       {"head.weight", "blocks.", "blocks.x.y", "blocks.3", "decoder_blocks.1.a"}) {
    CHECK_FALSE(block_of(name).has_value());
  }
}

// Counts the runs of attention, forward and backward.
class AttentionCount : public OpObserver {
 public:
  AttentionCount() { set_op_observer(this); }
  ~AttentionCount() override { set_op_observer(nullptr); }
  void before(const OpRun&) override {}
  void after(const OpRun& run) override {
    if (std::string_view(run.op) == "attention") ++(run.backward ? backward : forward);
  }

  int forward = 0, backward = 0;
};

TEST_CASE("the last blocks alone learn: no backward pass enters the others") {
  ClassifierConfig config = small_classifier();
  config.depth = 4;
  const Tensor imgs = random_pictures(config, 3, 1);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 3, 1}, {3});
  for (const bool checkpointing : {false, true}) {
    for (const int count : {0, 1, 3, 4}) {
      INFO(count << " blocks" << (checkpointing ? ", run again" : ""));
      VitClassifier whole(config, 1), part(config, 1);
      // A head as drawn hands down gradients of 1e-5 of the usual size.
      for (VitClassifier* model : {&whole, &part}) {
        for (const auto& [name, tensor] : model->named_parameters()) {
          if (name == "head.weight") raw::scale_(tensor, 1e4);
        }
      }
      part.set_checkpointing(checkpointing);
      part.train_last_blocks(count);
      backward(cross_entropy(whole(imgs), labels));
      {
        AttentionCount runs;
        backward(cross_entropy(part(imgs), labels));
        CHECK(runs.backward == count);
        CHECK(runs.forward == 4 + (checkpointing ? count : 0));
      }
      const auto all = whole.named_parameters(), own = part.named_parameters();
      for (size_t i = 0; i < own.size(); ++i) {
        INFO(own[i].name);
        const bool learns = layer_of(own[i].name, 4) > 4 - count && layer_of(own[i].name, 4) > 0;
        CHECK(requires_grad(own[i].tensor) == learns);
        if (!learns) continue;
        CHECK(grad(own[i].tensor).to_vector<float>() == grad(all[i].tensor).to_vector<float>());
      }
    }
  }
  VitClassifier model(config, 1);
  CHECK_THROWS_AS(model.train_last_blocks(5), UsageError);
  CHECK_THROWS_AS(model.train_last_blocks(-1), UsageError);
  model.train_last_blocks(1);
  // A shared bias would take a gradient through every block: it is frozen with them.
  BeitConfig shared = small_beit();
  Beit beit(shared, 1);
  beit.train_last_blocks(1);
  for (const auto& [name, tensor] : beit.named_parameters()) {
    const bool learns =
        name.starts_with("blocks.1.") || name.starts_with("norm.") || name.starts_with("lm_head.");
    CHECK(requires_grad(tensor) == learns);
  }
}

TEST_CASE("a classifier without classes is refused") {
  ClassifierConfig config = small_classifier();
  config.classes = 0;
  CHECK_THROWS_AS(VitClassifier(config), UsageError);
  CHECK_THROWS_WITH(VitClassifier(small_classifier(), 1)(Tensor::zeros({1, 3, 8, 8})),
                    Catch::Contains("(B, 3, 8, 20)"));
}

}  // namespace
}  // namespace tessera
