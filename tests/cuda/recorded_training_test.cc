// Whole recorded training steps: replayed they give the bits of steps that are queued anew.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "autograd/autocast.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "tests/train/temp_folder.h"
#include "train/finetune.h"
#include "train/pretrain_beit.h"
#include "train/pretrain_mae.h"
#include "train/step.h"
#include "train/train_tokenizer.h"

namespace tessera {
namespace {

constexpr Device kCuda = Device::kCuda;

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

MaeRecipe small_mae() {
  MaeRecipe recipe;
  recipe.model = {.image_height = 16,
                  .image_width = 16,
                  .patch = 4,
                  .dim = 32,
                  .depth = 2,
                  .heads = 2,
                  .decoder_dim = 16,
                  .decoder_depth = 1,
                  .decoder_heads = 2};
  recipe.batch_size = 4;
  recipe.base_lr = 0.05;
  recipe.warmup_steps = 2;
  recipe.clip_grad = 0.5;
  recipe.ema_decay = 0.9;
  return recipe;
}

FinetuneRecipe small_classifier() {
  FinetuneRecipe recipe;
  recipe.model.image_height = recipe.model.image_width = 16;
  recipe.model.patch = 4;
  recipe.model.dim = 32;
  recipe.model.depth = 2;
  recipe.model.heads = 2;
  recipe.model.drop_path = 0.5;
  recipe.batch_size = 4;
  recipe.base_lr = 0.05;
  recipe.warmup_steps = 0;
  return recipe;
}

TokenizerRecipe small_tokenizer(const std::string& arch) {
  TokenizerRecipe recipe;
  recipe.arch = arch;
  recipe.image_height = recipe.image_width = 16;
  recipe.vocab = 11;
  recipe.width = 8;
  recipe.codebook_dim = 6;
  recipe.layers = 1;
  recipe.decoder_width = 5;
  recipe.batch_size = 4;
  recipe.base_lr = 0.05;
  recipe.warmup_steps = 0;
  recipe.kl_weight = 0.1;
  return recipe;
}

// BEiT with a tokenizer on the device, too.
struct NamedBeit : BeitTask {
  explicit NamedBeit(const BeitRecipe& recipe) : BeitTask(recipe, tokenizer(), "", false) {}
  static TrainedTokenizer tokenizer() {
    TrainedTokenizer trained;
    trained.recipe = small_tokenizer("dvae");
    trained.model = make_tokenizer(trained.recipe);
    trained.model->initialize(5);
    trained.model->move_to(kCuda);
    return trained;
  }
};

BeitRecipe small_beit() {
  BeitRecipe recipe;
  recipe.model.image_height = recipe.model.image_width = 16;
  recipe.model.patch = 4;
  recipe.model.dim = 32;
  recipe.model.depth = 2;
  recipe.model.heads = 2;
  recipe.batch_size = 4;
  recipe.base_lr = 0.05;
  recipe.warmup_steps = 0;
  return recipe;
}

// Counts how often its loss was asked for: a replayed step does not ask.
template <class Task>
struct Counted : Task {
  using Task::Task;
  BatchLoss loss(const std::vector<Tensor>& tensors) override {
    ++asked;
    return Task::loss(tensors);
  }
  int asked = 0;
};

constexpr int64_t kSteps = 7;
constexpr int64_t kOverflowing = 4;  // this step's pictures are too bright for f16

std::vector<Batch> batches_of(const TrainingRecipe& recipe, int64_t step, double brightness = 1) {
  std::vector<Batch> batches;
  for (int64_t i = 0; i < recipe.accumulate; ++i) {
    Batch batch;
    const auto number = static_cast<uint32_t>(step * recipe.accumulate + i);
    batch.images = raw::uniform({4, 3, 16, 16}, {1, number, 9}, 0, brightness);
    batch.second = raw::uniform({4, 3, 8, 8}, {1, number, 10});
    batch.targets = Tensor::full({4, 3}, 1.0 / 3);
    batches.push_back(batch);
  }
  return batches;
}

struct Outcome {
  std::vector<StepResult> results;
  std::vector<std::vector<float>> weights;  // and moments and averages, at the end
  int asked = 0;
};

template <class Task>
std::unique_ptr<Counted<Task>> task_of(const auto& recipe) {
  auto task = std::make_unique<Counted<Task>>(recipe);
  if constexpr (std::is_same_v<Task, FinetuneTask>) task->take_classes({"a", "b", "c"}, "pics");
  return task;
}

// pending: how many steps may be under way before the first is heard of.
template <class Task>
Outcome train(const auto& recipe, bool graphs, size_t pending = 0, bool overflow = false) {
  const auto task = task_of<Task>(recipe);
  Module& model = task->build(false);
  model.move_to(kCuda);
  Trainer trainer(*task, model, kSteps, kSteps, graphs);
  Outcome outcome;
  for (int64_t step = 0; step < kSteps; ++step) {
    const bool bright = overflow && step == kOverflowing;
    trainer.queue(step, batches_of(recipe, step, bright ? 1e30 : 1));
    while (trainer.pending() > pending || (step == kSteps - 1 && trainer.pending() > 0)) {
      outcome.results.push_back(trainer.collect());
    }
  }
  for (const AdamW::Slot& slot : trainer.optimizer().slots()) {
    for (const Tensor& t : {slot.parameter, slot.exp_avg, slot.exp_avg_sq, slot.average}) {
      if (t.defined()) outcome.weights.push_back(values(t));
    }
  }
  outcome.asked = task->asked;
  return outcome;
}

void check_same(const Outcome& a, const Outcome& b) {
  REQUIRE(a.results.size() == kSteps);
  REQUIRE(b.results.size() == kSteps);
  const auto same = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  for (size_t i = 0; i < a.results.size(); ++i) {
    INFO("step " << i);
    CHECK(a.results[i].step == b.results[i].step);
    CHECK(same(a.results[i].loss, b.results[i].loss));
    CHECK(same(a.results[i].gradient_norm, b.results[i].gradient_norm));
    CHECK(a.results[i].loss_scale == b.results[i].loss_scale);
    CHECK(a.results[i].figures == b.results[i].figures);
  }
  CHECK((a.weights == b.weights));
}

TEST_CASE("a replayed training of a masked autoencoder has the bits of one queued anew") {
  for (const DType precision : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int64_t accumulate : {1, 2}) {
      INFO(name_of(precision) << ", " << accumulate << " batches a step");
      MaeRecipe recipe = small_mae();
      recipe.precision = precision;
      recipe.accumulate = accumulate;
      const bool overflow = precision == DType::kF16;
      const Outcome anew = train<MaeTask>(recipe, false, 0, overflow);
      const Outcome replayed = train<MaeTask>(recipe, true, 0, overflow);
      check_same(anew, replayed);
      CHECK(anew.asked == kSteps * accumulate);
      CHECK(replayed.asked == 2 * accumulate);  // once to be done, once to be recorded
      CHECK(anew.results.front().loss != anew.results.back().loss);
      if (overflow) {
        CHECK(anew.results[kOverflowing].loss_scale ==
              anew.results[kOverflowing - 1].loss_scale / 2);
      }
    }
  }
}

TEST_CASE("each share of hidden patches has a graph of its own") {
  MaeRecipe recipe = small_mae();  // 7 visible patches in four steps, then 8
  recipe.model.mask_ratio = 0.5625;
  recipe.mask_schedule = {.schedule = MaskSchedule::kLinear, .end = 0.45};
  const Outcome anew = train<MaeTask>(recipe, false), replayed = train<MaeTask>(recipe, true, 1);
  check_same(anew, replayed);
  CHECK(anew.results.front().figures != anew.results.back().figures);
  CHECK(replayed.asked == 4);
}

TEST_CASE("a replayed training with drop path has the bits of one queued anew") {
  const FinetuneRecipe recipe = small_classifier();
  const Outcome anew = train<FinetuneTask>(recipe, false),
                replayed = train<FinetuneTask>(recipe, true);
  check_same(anew, replayed);
  CHECK(replayed.asked == 2);
  FinetuneRecipe another = recipe;
  another.model.drop_path = 0;
  CHECK((train<FinetuneTask>(another, true).weights != replayed.weights));
}

TEST_CASE("a replayed training of BEiT has the bits of one queued anew") {
  for (const DType precision : {DType::kF32, DType::kBF16}) {
    BeitRecipe recipe = small_beit();
    recipe.precision = precision;
    const Outcome anew = train<NamedBeit>(recipe, false), replayed = train<NamedBeit>(recipe, true);
    check_same(anew, replayed);
    CHECK(anew.asked == kSteps);
    CHECK(replayed.asked == 2);
    CHECK(anew.results.front().loss != anew.results.back().loss);
  }
}

TEST_CASE("a replayed training of a tokenizer has the bits of one queued anew") {
  for (const std::string arch : {"dvae", "dalle"}) {
    TokenizerRecipe recipe = small_tokenizer(arch);
    recipe.straight_through = arch == "dalle";
    const Outcome anew = train<TokenizerTask>(recipe, false),
                  replayed = train<TokenizerTask>(recipe, true);
    check_same(anew, replayed);
    CHECK(replayed.asked == 2);
    // The temperature falls and the KL weight rises from step to step.
    CHECK(replayed.results[2].figures != replayed.results[3].figures);
  }
}

// How often the device's allocator has asked the system, after each step.
template <class Task>
std::vector<uint64_t> asked_of_system(const auto& recipe) {
  const auto task = task_of<Task>(recipe);
  Module& model = task->build(false);
  model.move_to(kCuda);
  Trainer trainer(*task, model, kSteps, kSteps, true);
  std::vector<uint64_t> asked;
  for (int64_t step = 0; step < kSteps; ++step) {
    trainer.step(step, batches_of(recipe, step));
    asked.push_back(backend(kCuda).allocator().stats().system_allocations);
  }
  CHECK(task->asked == 2 * recipe.accumulate);
  return asked;
}

// The second step is recorded, in memory of its own and with the cache given back before.
TEST_CASE("a recorded training asks the system for nothing after its second step") {
  const auto check = [](const std::vector<uint64_t>& asked) {
    CHECK(asked[1] > asked[0]);
    CHECK(std::vector<uint64_t>(asked.begin() + 1, asked.end()) ==
          std::vector<uint64_t>(kSteps - 1, asked[1]));
  };
  for (const int64_t accumulate : {1, 2}) {
    MaeRecipe recipe = small_mae();
    recipe.precision = DType::kBF16;
    recipe.accumulate = accumulate;
    check(asked_of_system<MaeTask>(recipe));
  }
  check(asked_of_system<FinetuneTask>(small_classifier()));
  check(asked_of_system<NamedBeit>(small_beit()));
}

TEST_CASE("heard of one step late, a training has the same bits") {
  const MaeRecipe recipe = small_mae();
  for (const bool graphs : {false, true}) {
    check_same(train<MaeTask>(recipe, graphs, 0), train<MaeTask>(recipe, graphs, 1));
  }
}

TEST_CASE("a NaN that is heard of late is named as at once, and the weights are those before it") {
  std::vector<std::string> said;
  for (const bool graphs : {false, true}) {
    for (const bool late : {false, true}) {
      const auto task = task_of<MaeTask>(small_mae());
      Module& model = task->build(false);
      model.move_to(kCuda);
      Trainer trainer(*task, model, kSteps, kSteps, graphs);
      const MaeRecipe& recipe = task->recipe();
      for (int64_t step = 0; step < 4; ++step) trainer.step(step, batches_of(recipe, step));
      const auto weights = [&] {
        std::vector<std::vector<float>> all;
        for (const AdamW::Slot& slot : trainer.optimizer().slots()) {
          all.push_back(values(slot.parameter));
          all.push_back(values(slot.exp_avg));
          all.push_back(values(slot.average));
        }
        return all;
      };
      const auto before = weights();
      std::vector<Batch> broken = batches_of(recipe, 4);
      broken[0].images.data<float>()[77] = NAN;
      trainer.queue(4, broken);
      if (late) {
        trainer.queue(5, batches_of(recipe, 5));
        CHECK(trainer.pending() == 2);
      }
      said.push_back(error_of([&] { trainer.collect(); }));
      CHECK((weights() == before));
      CHECK(trainer.optimizer().steps() == 4);
    }
  }
  CHECK(said[0].find("step 5: the output of [") == 0);
  CHECK(said == std::vector<std::string>(4, said[0]));
}

TEST_CASE("averaged weights that were shown leave no trace in a replayed step") {
  MaeRecipe recipe = small_mae();
  recipe.precision = DType::kBF16;  // the weights' 16-bit copies are what could go stale
  const auto run = [&](bool graphs) {
    const auto task = task_of<MaeTask>(recipe);
    Module& model = task->build(false);
    model.move_to(kCuda);
    Trainer trainer(*task, model, kSteps, kSteps, graphs);
    std::vector<double> losses;
    for (int64_t step = 0; step < kSteps; ++step) {
      losses.push_back(trainer.step(step, batches_of(recipe, step)).loss);
      const AveragedWeights shown(trainer.average());
      const StepInputs inputs = task->inputs(batches_of(recipe, step)[0], {});
      std::vector<Tensor> placed;
      for (const Tensor& t : inputs.tensors) placed.push_back(raw::to(t, kCuda));
      const Autocast autocast(recipe.precision);
      losses.push_back(task->loss(placed).loss.item());
    }
    return losses;
  };
  CHECK(run(false) == run(true));
}

}  // namespace
}  // namespace tessera
