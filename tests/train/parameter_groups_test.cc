// Every parameter of a classifier in one group, each with its rate and its decay.
#include "train/parameter_groups.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "models/vit.h"

namespace tessera {
namespace {

ClassifierConfig small_classifier() {
  ClassifierConfig config;
  config.image_height = config.image_width = 8;
  config.patch = 4;
  config.dim = 6;
  config.depth = 2;
  config.heads = 2;
  config.classes = 5;
  config.absolute_positions = true;
  config.relative_bias = RelativeBias::kPerBlock;
  return config;
}

}  // namespace

TEST_CASE("layers learn at their share of the rate, matrices and tables decay") {
  const VitClassifier model(small_classifier(), 1);
  const auto groups = vit_parameter_groups(model, 2, 0.5, 0.05);
  std::set<std::string> seen, labels;
  for (const ParameterGroup& group : groups) {
    CHECK(labels.insert(group.label).second);
    for (const std::string& name : group.names) {
      INFO(name);
      CHECK(seen.insert(name).second);
      const int64_t layer = layer_of(name, 2);
      CHECK(group.lr_factor == Approx(std::pow(0.5, 3 - double(layer))));
      const bool weight = name.ends_with("weight") && name.find("norm") == std::string::npos;
      const bool decayed = weight || name.ends_with("bias_table");
      CHECK(group.weight_decay == (decayed ? 0.05 : 0));
      CHECK(group.label == fmt::format("layer {}, {}", layer, decayed ? "decayed" : "not decayed"));
    }
  }
  CHECK(seen.size() == model.named_parameters().size());
  CHECK(groups.size() == 8);  // four layers, decayed or not
  for (const ParameterGroup& group : vit_parameter_groups(model, 2, 1, 0.05)) {
    CHECK(group.lr_factor == 1);
  }
  CHECK_THROWS_WITH(vit_parameter_groups(model, 2, 1.5, 0.05), Catch::Contains("1.5"));
}

TEST_CASE("what does not learn is in no group") {
  VitClassifier model(small_classifier(), 1);
  model.train_last_blocks(1);
  const auto groups = vit_parameter_groups(model, 2, 0.5, 0.05);
  CHECK(groups.size() == 4);
  for (const ParameterGroup& group : groups) {
    for (const std::string& name : group.names) CHECK(layer_of(name, 2) >= 2);
  }
}

}  // namespace tessera
