// What a step does for any task, on a task small enough to compute by hand: groups of parameters,
// averaged weights, figures over accumulated batches, and what a checkpoint brings back.
#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/functions.h"
#include "engine/raw.h"
#include "nn/layers.h"
#include "tests/train/temp_folder.h"
#include "train/checkpoint.h"
#include "train/step.h"

namespace tessera {
namespace {

struct LineRecipe : TrainingRecipe {
  int64_t height = 1, width = 1, channels = 1;
  int64_t lines = 3;

  LineRecipe() {
    arch = "line";
    mean = {0};
    std = {1};
    batch_size = 256;  // base_lr is the rate
    base_lr = 0.01;
    warmup_steps = 0;
    weight_decay = 0;
  }
  std::string task() const override { return "lines"; }
  std::string command() const override { return "draw lines"; }
  PictureFields picture() override { return {height, width, channels}; }
  std::vector<RecipeField> fields() override {
    std::vector<RecipeField> list = TrainingRecipe::fields();
    list.push_back({"lines", &lines});
    return list;
  }
};

// The mean square of w x + b over the batch; it remembers the sum of all losses.
class LineTask : public TrainingTask {
 public:
  explicit LineTask(const LineRecipe& recipe) : recipe_(recipe), line(4, 2) {
    Module& module = line;
    module.visit([](const std::string&, Tensor& t, StateKind) { raw::fill_(t, 0.5); });
  }

  TrainingRecipe& recipe() override { return recipe_; }
  Module& build(bool) override { return line; }
  std::vector<ParameterGroup> groups() const override { return groups_; }
  StepInputs inputs(const Batch& batch, const StepPlace& place) override {
    places.push_back(place);
    return {{batch.images}, {{"iteration", double(place.iteration)}}};
  }
  BatchLoss loss(const std::vector<Tensor>& tensors) override {
    const Tensor y = line(tensors[0]);
    return {mean(y * y), {{"first", raw::select(raw::reshape(tensors[0], {-1}), 0, 0)}}};
  }
  void after_step(const StepPlace&, double loss, const Figures&) override {
    raw::copy_(seen_, Tensor::full({}, seen_.item() + loss, DType::kF64));
  }
  Evaluation evaluate(int64_t) override { return {}; }
  std::vector<NamedTensor> state() override { return {{"task/seen", seen_}}; }
  TaskCost cost(bool) const override { return {}; }

  LineRecipe recipe_;
  Linear line;
  std::vector<ParameterGroup> groups_;
  std::vector<StepPlace> places;
  Tensor seen_ = Tensor::zeros({}, DType::kF64);
};

std::vector<Batch> batches_of(const LineRecipe& recipe, int64_t step) {
  std::vector<Batch> batches;
  for (int64_t i = 0; i < recipe.accumulate; ++i) {
    Batch batch;
    batch.images = raw::normal({8, 4}, {1, static_cast<uint32_t>(step * recipe.accumulate + i), 9});
    batches.push_back(batch);
  }
  return batches;
}

std::vector<float> values(const Module& module) {
  std::vector<float> all;
  for (const NamedTensor& entry : module.state_dict()) {
    const std::vector<float> more = entry.tensor.to_vector<float>();
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

constexpr int64_t kSteps = 20;

}  // namespace

TEST_CASE("a group's factor and decay are its own, the rest follows the options") {
  LineTask plain({}), grouped({});
  LineRecipe decayed;
  decayed.weight_decay = 0.1;
  grouped.recipe_ = decayed;
  grouped.groups_ = {{"slow", {"bias"}, 0.25, 0.5}};
  Trainer a(plain, plain.line, kSteps, kSteps), b(grouped, grouped.line, kSteps, kSteps);
  a.step(0, batches_of(plain.recipe_, 0));
  b.step(0, batches_of(grouped.recipe_, 0));
  // AdamW's first update is lr times the gradient's sign, whatever its size.
  const double lr = 0.01;
  const auto first = [](const LineTask& task, size_t i) {
    return task.line.state_dict()[i].tensor.to_vector<float>()[0];
  };
  const double weight_move = first(plain, 0) - 0.5, bias_move = first(plain, 1) - 0.5;
  CHECK(std::abs(weight_move) == Approx(lr).epsilon(1e-4));
  CHECK(std::abs(bias_move) == Approx(lr).epsilon(1e-4));
  CHECK(first(grouped, 0) == Approx(0.5 * (1 - lr * 0.1) + weight_move).epsilon(1e-5));
  CHECK(first(grouped, 1) == Approx(0.5 * (1 - 0.25 * lr * 0.5) + 0.25 * bias_move).epsilon(1e-5));
}

TEST_CASE("groups that do not fit the model are refused by name") {
  LineTask task({});
  const auto build = [&] { Trainer trainer(task, task.line, kSteps, kSteps); };
  task.groups_ = {{"a", {"bias"}, 1, 0}, {"b", {"bias"}, 1, 0}};
  CHECK(error_of(build).find("bias is in two groups") != std::string::npos);
  task.groups_ = {{"head", {"head.weight"}, 1, 0}};
  CHECK(error_of(build).find("'head' names head.weight") != std::string::npos);
}

TEST_CASE("averaged weights equal their formula and are exchanged for an evaluation") {
  LineRecipe recipe;
  recipe.ema_decay = 0.9;
  LineTask task(recipe);
  Trainer trainer(task, task.line, 100, 100);
  std::vector<double> expected;
  for (const float w : values(task.line)) expected.push_back(w);
  for (int64_t step = 0; step < 100; ++step) {
    trainer.step(step, batches_of(recipe, step));
    const std::vector<float> now = values(task.line);
    const double t = double(step + 1), decay = std::min(0.9, (1 + t) / (10 + t));
    for (size_t i = 0; i < now.size(); ++i) {
      expected[i] = decay * expected[i] + (1 - decay) * now[i];
    }
  }
  const std::vector<float> weights = values(task.line);
  {
    const AveragedWeights averaged(trainer.average());
    const std::vector<float> shown = values(task.line);
    for (size_t i = 0; i < shown.size(); ++i) CHECK(shown[i] == Approx(expected[i]).epsilon(1e-6));
    CHECK(shown != weights);
  }
  CHECK(values(task.line) == weights);
}

TEST_CASE("an update that the loss scale skips leaves average, weights and moments alone") {
  LineRecipe recipe;
  recipe.ema_decay = 0.9;
  recipe.precision = DType::kF16;
  LineTask task(recipe);
  Trainer trainer(task, task.line, kSteps, kSteps);
  const auto averages = [&trainer] {
    std::vector<float> all;
    for (const NamedTensor& shadow : trainer.average()->tensors()) {
      const std::vector<float> more = shadow.tensor.to_vector<float>();
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  };
  for (int64_t step = 0; step < 3; ++step) trainer.step(step, batches_of(recipe, step));
  const std::vector<float> average = averages(), weights = values(task.line);
  const double scale = trainer.optimizer().state().scale.value;
  REQUIRE(average != weights);  // else one more update would not show
  std::vector<Batch> overflowing = batches_of(recipe, 3);
  overflowing[0].images = Tensor::full({8, 4}, 1e30);
  const StepResult skipped = trainer.step(3, overflowing);
  CHECK_FALSE(std::isfinite(skipped.gradient_norm));
  CHECK(trainer.optimizer().state().scale.value == scale / 2);
  CHECK(trainer.optimizer().steps() == 3);
  CHECK(averages() == average);
  CHECK(values(task.line) == weights);
  trainer.step(4, batches_of(recipe, 4));
  CHECK(trainer.optimizer().steps() == 4);
  CHECK(averages() != average);
}

TEST_CASE("figures are means over a step's batches, which count on from step to step") {
  LineRecipe recipe;
  recipe.accumulate = 2;
  LineTask task(recipe);
  Trainer trainer(task, task.line, kSteps, 5);
  const auto first_value = [](const Batch& batch) { return batch.images.to_vector<float>()[0]; };
  for (int64_t step = 0; step < 3; ++step) {
    const std::vector<Batch> batches = batches_of(recipe, step);
    const StepResult result = trainer.step(step, batches);
    REQUIRE(result.figures.size() == 2);
    CHECK(result.figures[0].first == "first");
    CHECK(result.figures[0].second ==
          Approx((first_value(batches[0]) + first_value(batches[1])) / 2));
    CHECK(result.figures[1].first == "iteration");
    CHECK(result.figures[1].second == 2 * double(step) + 0.5);
  }
  REQUIRE(task.places.size() == 6);
  for (uint32_t i = 0; i < 6; ++i) {
    CHECK(task.places[i].iteration == i);
    CHECK(task.places[i].step == i / 2);
    CHECK(task.places[i].total_steps == kSteps);
  }
}

TEST_CASE("a checkpoint brings back averaged weights and what the task remembers") {
  const TempFolder folder;
  const std::string file = folder.file("step.safetensors");
  LineRecipe recipe;
  recipe.ema_decay = 0.9;
  LineTask straight(recipe), before(recipe), after(recipe);
  Trainer whole(straight, straight.line, kSteps, kSteps);
  for (int64_t step = 0; step < 6; ++step) whole.step(step, batches_of(recipe, step));
  Trainer first(before, before.line, kSteps, kSteps);
  for (int64_t step = 0; step < 3; ++step) first.step(step, batches_of(recipe, step));
  first.save(file, 3);
  Trainer second(after, after.line, kSteps, kSteps);
  second.load(Checkpoint(file));
  for (int64_t step = 3; step < 6; ++step) second.step(step, batches_of(recipe, step));
  CHECK(values(after.line) == values(straight.line));
  CHECK(after.seen_.item() == straight.seen_.item());
  const AveragedWeights a(whole.average()), b(second.average());
  CHECK(values(after.line) == values(straight.line));

  // None of it is taken for a weight.
  const Checkpoint checkpoint(file);
  const std::map<std::string, Tensor> weights = read_tensors(checkpoint.file(), is_weight);
  CHECK(weights.size() == 2);
  CHECK(checkpoint.file().find("ema/weight") != nullptr);
}

TEST_CASE("a recipe survives JSON; another task's is refused") {
  LineRecipe recipe;
  recipe.lines = 7;
  recipe.augment = Augment::kShiftFlip;
  recipe.color_jitter = 0.3;
  recipe.precision = DType::kBF16;
  recipe.tf32 = true;
  const nlohmann::json json = to_json(recipe);
  CHECK(json.at("task") == "lines");
  LineRecipe back;
  read_recipe(back, json);
  CHECK(to_json(back) == json);
  CHECK(back.lines == 7);
  CHECK(back.color_jitter == 0.3);
  CHECK(back.tf32);

  nlohmann::json other = json;
  other["task"] = "circles";
  CHECK(error_of([&] { read_recipe(back, other); }).find("circles, not lines") !=
        std::string::npos);
  other.erase("task");  // the first version's
  CHECK(error_of([&] { read_recipe(back, other); }).find("pretrain-mae, not lines") !=
        std::string::npos);
  nlohmann::json lacking = json;
  lacking.erase("lines");
  CHECK(error_of([&] { read_recipe(back, lacking); }).find("'lines'") != std::string::npos);
  lacking = json;
  lacking.erase("ema-decay");  // younger than the first files
  lacking.erase("color-jitter");
  lacking.erase("tf32");
  LineRecipe old;
  read_recipe(old, lacking);
  CHECK(old.ema_decay == 0);
  CHECK(old.color_jitter == 0);
  CHECK(!old.tf32);
  recipe.color_jitter = 1.1;
  CHECK(error_of([&] { recipe.check(); }).find("--color-jitter") != std::string::npos);
}

}  // namespace tessera
