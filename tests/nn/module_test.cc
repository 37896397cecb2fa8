// The module tree: names, order, replacing, loading, freezing; and the random sites of a step.
#include "nn/module.h"

#include <catch2/catch.hpp>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "nn/layers.h"
#include "nn/step_random.h"
#include "nn/transformer.h"

namespace tessera {
namespace {

struct Pair : Module {
  Pair() {
    add_child("first", first);  // before its own parameters, and still after them in the state
    add_parameter("scale", scale, {2}, 3);
    add_parameter("table", table, {2}, 5, StateKind::kFixed);
    add_buffer("count", count, {}, 7, DType::kI64);
    add_child("rest", rest);
    rest.append(1, 1);
    rest.append(1, 1, false);
  }
  Tensor scale, table, count;
  Linear first{2, 3};
  ModuleList<Linear> rest;
};

std::vector<std::string> names_of(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> names;
  for (const NamedTensor& tensor : tensors) names.push_back(tensor.name);
  return names;
}

std::map<std::string, Tensor> values_of(const Module& module, double value) {
  std::map<std::string, Tensor> values;
  for (const auto& [name, tensor] : module.state_dict()) {
    values[name] = Tensor::full(tensor.shape(), value, tensor.dtype());
  }
  return values;
}

TEST_CASE("the state dict lists own parameters, own buffers, then children") {
  const Pair pair;
  CHECK(names_of(pair.state_dict()) ==
        std::vector<std::string>{"scale", "table", "count", "first.weight", "first.bias",
                                 "rest.0.weight", "rest.0.bias", "rest.1.weight"});
  CHECK(names_of(pair.named_parameters()) ==
        std::vector<std::string>{"scale", "table", "first.weight", "first.bias", "rest.0.weight",
                                 "rest.0.bias", "rest.1.weight"});
  CHECK(pair.parameter_count() == 2 + 2 + 9 + 2 + 1);
}

TEST_CASE("fixed parameters and buffers never want a gradient") {
  Pair pair;
  for (const bool trainable : {true, false, true}) {
    pair.set_trainable(trainable);
    CHECK(requires_grad(pair.scale) == trainable);
    CHECK_FALSE(requires_grad(pair.table));
    CHECK_FALSE(requires_grad(pair.count));
  }
}

TEST_CASE("a visitor puts other tensors in place, and the layer computes with them") {
  Linear layer(2, 1);
  layer.visit([](const std::string& name, Tensor& tensor, StateKind) {
    tensor = Tensor::full(tensor.shape(), name == "weight" ? 2 : 10);
  });
  CHECK(layer(Tensor::full({1, 2}, 3)).item() == 2 * 3 + 2 * 3 + 10);
}

TEST_CASE("loading copies all values or names what is wrong and copies none") {
  Pair pair;
  auto values = values_of(pair, 4);
  pair.load_state_dict(values);
  for (const auto& [name, tensor] : pair.state_dict()) {
    CHECK(raw::amax(raw::to(tensor, DType::kF32), {}, false).item() == 4);
  }

  values = values_of(pair, 9);
  SECTION("missing") {
    values.erase("rest.1.weight");
    CHECK_THROWS_WITH(pair.load_state_dict(values),
                      Catch::Contains("rest.1.weight") && Catch::Contains("missing"));
  }
  SECTION("another shape") {
    values["rest.1.weight"] = Tensor::zeros({5});
    CHECK_THROWS_WITH(pair.load_state_dict(values),
                      Catch::Contains("rest.1.weight") && Catch::Contains("(5,)"));
  }
  SECTION("one too many") {
    values["rest.2.weight"] = Tensor::zeros({1, 1});
    CHECK_THROWS_WITH(pair.load_state_dict(values), Catch::Contains("rest.2.weight"));
  }
  CHECK(pair.scale.to_vector<float>() == std::vector<float>{4, 4});
}

TEST_CASE("names are unique and have no dots") {
  struct Bad : Module {
    explicit Bad(const std::string& second) {
      add_parameter("weight", a, {1});
      add_buffer(second, b, {1});
    }
    Tensor a, b;
  };
  CHECK_NOTHROW(Bad("other"));
  CHECK_THROWS_WITH(Bad("weight"), Catch::Contains("weight"));
  CHECK_THROWS_WITH(Bad("a.b"), Catch::Contains("a.b"));
}

TEST_CASE("the training flag reaches every child") {
  TransformerBlock block({.dim = 8, .heads = 2, .mlp_hidden = 16, .drop_path = 0.5});
  const Tensor x = Tensor::full({64, 1, 8}, 1);
  CHECK_THROWS_WITH(block(x), Catch::Contains("drop_path") && Catch::Contains("StepRandom"));
  block.set_training(false);
  CHECK_NOTHROW(block(x));
}

TEST_CASE("a step's random sites are counted in call order and start again") {
  const Dropout dropout(0.5);
  const Tensor x = Tensor::full({256}, 1);
  const auto draw_two = [&](uint64_t seed, uint32_t iteration) {
    const StepRandom step(seed, iteration);
    auto first = dropout(x).to_vector<float>();
    const auto second = dropout(x).to_vector<float>();
    CHECK(first != second);
    first.insert(first.end(), second.begin(), second.end());
    return first;
  };
  const auto drawn = draw_two(1, 2);
  CHECK(drawn == draw_two(1, 2));
  CHECK(drawn != draw_two(1, 3));
  CHECK(drawn != draw_two(2, 2));

  const StepRandom step(1, 2);
  const auto place = StepRandom::place();
  REQUIRE(place.has_value());
  const auto once = dropout(x).to_vector<float>();
  {
    const StepRandom replay(*place);  // a block that runs again
    CHECK(once == dropout(x).to_vector<float>());
  }
  CHECK(once != dropout(x).to_vector<float>());  // the step goes on where it was
}

}  // namespace
}  // namespace tessera
