// Fine-tuning as a task of the loop: where its weights come from, what it asks of the loader, its
// loss and scores, what learns and what is frozen.
#include "train/finetune.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/transfer.h"
#include "tests/train/temp_folder.h"
#include "train/checkpoint.h"
#include "train/normalisation.h"
#include "train/pretrain_mae.h"
#include "train/pretrained.h"
#include "train/step.h"
#include "train/training_data.h"

namespace tessera {
namespace {

const std::vector<std::string> kNames = {"bee", "cow", "eel"};

MaeRecipe small_mae() {
  MaeRecipe recipe;
  recipe.arch = "small";
  recipe.mean = {0.1f, 0.2f, 0.3f};
  recipe.std = {0.4f, 0.5f, 0.6f};
  recipe.model.image_height = recipe.model.image_width = 16;
  recipe.model.patch = 4;
  recipe.model.dim = 12;
  recipe.model.depth = 3;
  recipe.model.heads = 3;
  recipe.model.decoder_dim = 8;
  recipe.model.decoder_depth = 1;
  recipe.model.decoder_heads = 2;
  return recipe;
}

// A recipe for the encoder of small_mae() whose learning rate is `lr`.
FinetuneRecipe small_recipe(double lr = 1e-2) {
  FinetuneRecipe recipe;
  static_cast<VitConfig&>(recipe.model) = encoder_of(small_mae().model);
  recipe.arch = "small";
  recipe.mean = {0.5f, 0.5f, 0.5f};
  recipe.std = {0.5f, 0.5f, 0.5f};
  recipe.batch_size = 256;
  recipe.base_lr = lr;
  recipe.warmup_steps = 0;
  return recipe;
}

void save(const std::string& path, TrainingRecipe& recipe, Module& model, int64_t step) {
  AdamW optimizer(model, {});
  save_checkpoint(path, model, optimizer, step, to_json(recipe));
}

// A MAE of random weights in a file.
std::map<std::string, std::vector<float>> save_mae(const std::string& path) {
  MaeRecipe recipe = small_mae();
  Mae model(recipe.model, 5);
  save(path, recipe, model, 7);
  std::map<std::string, std::vector<float>> weights;
  for (const auto& [name, tensor] : model.state_dict()) weights[name] = tensor.to_vector<float>();
  return weights;
}

std::map<std::string, std::vector<float>> weights_of(const Module& model) {
  std::map<std::string, std::vector<float>> weights;
  for (const auto& [name, tensor] : model.state_dict()) weights[name] = tensor.to_vector<float>();
  return weights;
}

// Mixed pictures of three classes.
std::vector<Batch> batches_of(int64_t step) {
  Batch batch;
  batch.images = raw::normal({6, 3, 16, 16}, {1, static_cast<uint32_t>(step), 9});
  batch.labels = {0, 1, 2, 2, 1, 0};
  batch.targets = mixed_targets({.share = 0.7, .box = {}}, batch.labels, 3, 0.1);
  return {batch};
}

class MadePictures : public Dataset {
 public:
  int64_t size() const override { return 9; }
  const std::vector<std::string>& class_names() const override { return kNames; }
  int64_t label(int64_t i) const override { return i % 3; }
  std::string name(int64_t i) const override { return fmt::format("made-{}", i); }
  Image picture(int64_t i) const override {
    if (i == 4) throw Error("made-4: cut short");
    Image image(16, 16, 3);
    PhiloxStream random({3, static_cast<uint32_t>(i), 9});
    for (uint8_t& level : image.pixels) level = static_cast<uint8_t>(random.below(256));
    return image;
  }
};

constexpr int64_t kSteps = 20;

}  // namespace

TEST_CASE("the tower is the checkpoint's, the head is new, the recipe says whose it was") {
  const TempFolder folder;
  const std::string path = folder.file("mae.safetensors");
  const auto source = save_mae(path);
  FinetuneTask task(small_recipe(), path);
  task.take_classes(kNames, "pics");
  const auto weights = weights_of(task.build(false));
  for (const auto& [name, values] : weights) {
    INFO(name);
    const bool fresh = name.starts_with("head.") || name.starts_with("fc_norm.");
    CHECK(fresh == !source.contains(name));
    if (!fresh) CHECK(values == source.at(name));
  }
  double squares = 0;
  for (const float w : weights.at("head.weight")) squares += double(w) * w;
  CHECK(std::sqrt(squares / 36) == Approx(2e-5).epsilon(0.3));
  CHECK(task.recipe().encoder.starts_with("pretrain-mae, step 7, recipe "));
  CHECK(to_json(task.recipe()).at("classes") == nlohmann::json(kNames));

  const PretrainedEncoder encoder = encoder_in(Checkpoint(path));
  CHECK(encoder.arch == "small");
  CHECK(encoder.mean == small_mae().mean);
  CHECK(encoder.config.depth == 3);
  CHECK(encoder.config.drop_path == 0);

  // On larger pictures positions are resized, and nothing else.
  FinetuneRecipe larger = small_recipe();
  larger.model.image_width = 24;
  FinetuneTask wide(larger, path);
  wide.take_classes(kNames, "pics");
  const auto resized = weights_of(wide.build(false));
  CHECK(resized.at("pos_embed").size() == 12 * (1 + 4 * 6));
  CHECK(resized.at("blocks.1.attn.qkv.weight") == source.at("blocks.1.attn.qkv.weight"));

  FinetuneTask random(small_recipe());
  random.take_classes(kNames, "pics");
  CHECK(weights_of(random.build(false)).at("blocks.1.attn.qkv.weight") !=
        source.at("blocks.1.attn.qkv.weight"));
  CHECK(random.recipe().encoder.empty());
}

TEST_CASE(
    "from scratch the tower is what the checkpoint's training began with, of the run's seed") {
  const TempFolder folder;
  const std::string path = folder.file("mae.safetensors");
  const auto trained = save_mae(path);
  FinetuneRecipe recipe = small_recipe();
  recipe.from_scratch = true;
  recipe.seed = 9;
  FinetuneTask task(recipe, path);
  task.take_classes(kNames, "pics");
  const auto weights = weights_of(task.build(false));
  const auto begun = weights_of(Mae(small_mae().model, 9));
  CHECK(task.recipe().encoder.empty());
  int compared = 0;
  for (const auto& [name, values] : weights) {
    if (!begun.contains(name) || name.starts_with("norm.")) continue;
    INFO(name);
    CHECK(values == begun.at(name));
    // Norms, biases and sin-cos positions are the same at every beginning.
    if (name.ends_with(".weight") && name.find("norm") == name.npos) {
      CHECK(values != trained.at(name));
      ++compared;
    }
  }
  CHECK(compared == 3 * 4 + 1);
  CHECK(weights.at("pos_embed") == trained.at("pos_embed"));
}

TEST_CASE("a checkpoint of a training without an encoder is refused by name") {
  const TempFolder folder;
  const std::string path = folder.file("odd.safetensors");
  MaeRecipe recipe = small_mae();
  Mae model(recipe.model, 5);
  AdamW optimizer(model, {});
  nlohmann::json json = to_json(recipe);
  json["task"] = "tokenizer";
  save_checkpoint(path, model, optimizer, 1, json);
  const std::string message = error_of([&] { encoder_in(Checkpoint(path)); });
  CHECK(message.find(path) != std::string::npos);
  CHECK(message.find("'tokenizer' holds no encoder") != std::string::npos);
  CHECK_THROWS_AS(encoder_in(Checkpoint(path)), UsageError);
  CHECK_THROWS_AS(load_classifier(Checkpoint(path)), UsageError);
}

TEST_CASE("classes are needed, and stay what they were") {
  FinetuneTask task(small_recipe());
  CHECK_THAT(error_of([&] { task.take_classes({}, "pics/"); }),
             Catch::Contains("--data pics/: these pictures have no classes"));
  CHECK(error_of([&] { task.take_classes({"bee"}, "pics"); }).find("only one class") !=
        std::string::npos);
  // A recipe could not hold it: nothing is trained that cannot be saved.
  CHECK_THROWS_AS(task.take_classes({"bee", "caf\xe9"}, "pics"), UsageError);
  CHECK(error_of([&] {
          task.take_classes({"bee", "caf\xe9"}, "pics");
        }).find("\"caf\xef\xbf\xbd\"") != std::string::npos);
  CHECK(task.recipe().classes.empty());
  task.take_classes(kNames, "pics");
  task.take_classes(kNames, "pics");
  CHECK(task.recipe().model.classes == 3);
  const std::string message = error_of([&] {
    task.take_classes({"ant", "bee", "cow", "eel", "fox"}, "pics");
  });
  CHECK(message.find("5 classes (ant, bee, cow, ...)") != std::string::npos);
  CHECK(message.find("3 classes (bee, cow, eel)") != std::string::npos);
  CHECK_THROWS_AS(task.take_classes({"bee", "cow", "elk"}, "pics"), UsageError);
}

TEST_CASE("what the recipe says of the pictures reaches the loader") {
  FinetuneRecipe recipe = small_recipe();
  recipe.mixup = 0.3;
  recipe.cutmix = 0.4;
  recipe.label_smoothing = 0.2;
  recipe.rand_augment = 7;
  recipe.random_erasing = 0.5;
  FinetuneTask task(recipe);
  task.take_classes(kNames, "pics");
  DataOptions reading = reading_of(task.recipe());
  task.configure(reading);
  CHECK(reading.classes == 3);
  CHECK(reading.mix.mixup_alpha == 0.3);
  CHECK(reading.mix.cutmix_alpha == 0.4);
  CHECK(reading.mix.label_smoothing == 0.2);
  CHECK(reading.rand_augment.value().magnitude == 7);
  CHECK(reading.erasing.value().probability == 0.5);
  task.recipe().rand_augment = task.recipe().random_erasing = 0;
  DataOptions plain = reading_of(task.recipe());
  task.configure(plain);
  CHECK_FALSE(plain.rand_augment.has_value());
  CHECK_FALSE(plain.erasing.has_value());
}

TEST_CASE("the loss is the targets' cross-entropy; whole labels give the plain one") {
  FinetuneRecipe recipe = small_recipe();
  recipe.model.drop_path = 0;
  FinetuneTask task(recipe);
  task.take_classes(kNames, "pics");
  VitClassifier& model = task.build(false);
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (name == "head.weight") raw::scale_(tensor, 1e5);
  }
  Batch batch = batches_of(0)[0];
  batch.targets = mixed_targets({}, batch.labels, 3, 0.1);
  const double want =
      cross_entropy(model(batch.images), Tensor::from(batch.labels, {6}), 0.1).item();
  CHECK(task.loss(task.inputs(batch, {}).tensors).loss.item() == Approx(want).epsilon(1e-6));
  CHECK(std::abs(want - std::log(3.0)) > 0.01);
}

TEST_CASE("each layer learns at its own rate: the first update is lr times the layer's factor") {
  FinetuneRecipe recipe = small_recipe(1e-2);
  recipe.layer_decay = 0.5;
  recipe.weight_decay = 0;
  FinetuneTask task(recipe);
  task.take_classes(kNames, "pics");
  VitClassifier& model = task.build(false);
  for (const auto& [name, tensor] : model.named_parameters()) {  // gradients of a usual size
    if (name == "head.weight") raw::scale_(tensor, 1e5);
  }
  Trainer trainer(task, model, kSteps, kSteps);
  const auto before = weights_of(model);
  trainer.step(0, batches_of(0));
  for (const auto& [name, values] : weights_of(model)) {
    INFO(name);
    double most = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      most = std::max(most, std::abs(double(values[i]) - before.at(name)[i]));
    }
    CHECK(most == Approx(1e-2 * std::pow(0.5, 4 - double(layer_of(name, 3)))).epsilon(2e-2));
  }
}

TEST_CASE("frozen weights are not the optimizer's and stay to the bit") {
  for (const int64_t blocks : {0, 1, 2}) {
    INFO(blocks << " blocks learn");
    FinetuneRecipe recipe = small_recipe();
    recipe.unfreeze_blocks = blocks;
    recipe.ema_decay = 0.9;
    FinetuneTask task(recipe);
    task.take_classes(kNames, "pics");
    VitClassifier& model = task.build(blocks == 2);
    Trainer trainer(task, model, kSteps, kSteps);
    const auto before = weights_of(model);
    for (int64_t step = 0; step < 5; ++step) trainer.step(step, batches_of(step));
    size_t learnt = 0;
    for (const auto& [name, values] : weights_of(model)) {
      INFO(name);
      const bool learns = layer_of(name, 3) > 3 - blocks;
      CHECK((values != before.at(name)) == learns);
      learnt += learns;
    }
    CHECK(trainer.optimizer().slots().size() == learnt);
    CHECK(trainer.average()->tensors().size() == learnt);
    const AveragedWeights averaged(trainer.average());
    for (const auto& [name, values] : weights_of(model)) {
      if (layer_of(name, 3) <= 3 - blocks) CHECK(values == before.at(name));
    }
  }
}

TEST_CASE("a classifier comes back with the weights that were judged") {
  const TempFolder folder;
  const std::string path = folder.file("step.safetensors");
  const Tensor imgs = batches_of(3)[0].images;
  for (const double decay : {0.0, 0.9}) {
    FinetuneRecipe recipe = small_recipe();
    recipe.ema_decay = decay;
    recipe.model.pooling = decay > 0 ? Pooling::kClassToken : Pooling::kMean;
    recipe.model.norm_eps = 1e-2;
    FinetuneTask task(recipe);
    task.take_classes(kNames, "pics");
    VitClassifier& model = task.build(false);
    Trainer trainer(task, model, kSteps, kSteps);
    for (int64_t step = 0; step < 4; ++step) trainer.step(step, batches_of(step));
    trainer.save(path, 4);
    const NoGrad no_grad;
    const TrainedClassifier back = load_classifier(Checkpoint(path));
    CHECK(back.recipe.classes == kNames);
    CHECK(back.recipe.model.pooling == recipe.model.pooling);
    model.set_training(false);
    const auto own = model(imgs).to_vector<float>();
    const AveragedWeights averaged(trainer.average());
    CHECK((*back.model)(imgs).to_vector<float>() == model(imgs).to_vector<float>());
    CHECK((own == model(imgs).to_vector<float>()) == (decay == 0));
  }
}

TEST_CASE("an evaluation counts every picture that can be read") {
  TrainingData data;
  data.split.train = data.split.held_out = std::make_shared<MadePictures>();
  data.judged = std::make_shared<EvaluationReader>(data.split.train, 16, 16);
  data.judged_name = "made pictures";
  FinetuneTask task(small_recipe());
  task.open(data);
  VitClassifier& model = task.build(false);
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (name == "head.weight") raw::scale_(tensor, 1e5);
  }
  model.set_training(false);
  const NoGrad no_grad;
  const Evaluation found = task.evaluate(1);
  double right = 0, loss = 0;
  const Normalisation normalisation{task.recipe().mean, task.recipe().std};
  for (const int64_t i : {0, 1, 2, 3, 5, 6, 7, 8}) {
    const Tensor logits = model(normalisation.apply(data.judged->pictures(i, 1)));
    right += raw::argmax(logits, 1, false).item() == double(i % 3);
    loss += cross_entropy(logits, Tensor::from(std::vector<int64_t>{i % 3}, {1})).item() / 8;
  }
  REQUIRE(found.figures.size() == 3);
  CHECK(found.figures[0].first == "eval_top1");
  CHECK(found.figures[0].second == Approx(100 * right / 8));
  CHECK(found.figures[1].second == 100);  // three classes
  CHECK(found.figures[2].second == Approx(loss).epsilon(1e-5));
  CHECK(found.summary.find("on 8 made pictures") != std::string::npos);
}

TEST_CASE("a head of a first fine-tuning is left behind with a word") {
  const TempFolder folder;
  const std::string path = folder.file("classifier.safetensors");
  FinetuneTask first(small_recipe());
  first.take_classes(kNames, "pics");
  VitClassifier& model = first.build(false);
  CHECK(first.remarks().empty());
  AdamW optimizer(model, {});
  save_checkpoint(path, model, optimizer, 1, to_json(first.recipe()));

  const auto said = [&](const std::vector<std::string>& classes, bool from_scratch) {
    FinetuneRecipe recipe = small_recipe();
    recipe.from_scratch = from_scratch;
    FinetuneTask task(recipe, path);
    task.take_classes(classes, "pics");
    task.build(false);
    const std::vector<std::string> lines = task.remarks();
    CHECK(task.remarks().empty());  // once
    CHECK(lines.size() == (from_scratch ? 0 : 1));
    return lines.empty() ? "" : lines[0];
  };
  CHECK_THAT(said({"ant", "fox"}, false),
             Catch::Contains("head of 3 classes (") &&
                 Catch::Contains("a new one of 2 classes (ant, fox) begins"));
  CHECK_THAT(said({"ant", "fox", "owl"}, false), Catch::Contains("a new one of 3 classes (ant"));
  CHECK_THAT(said(kNames, false), Catch::Contains("a new one of the same classes begins"));
  CHECK(said(kNames, true).empty());
}

}  // namespace tessera
