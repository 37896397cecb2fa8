// The classifier's recipe, loss and scores.
#include "train/finetune.h"

#include <functional>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/flops.h"
#include "models/names.h"
#include "models/transfer.h"
#include "train/files/naming.h"
#include "train/parameter_groups.h"
#include "train/picture_batches.h"
#include "train/probes/classification.h"
#include "train/vit_fields.h"
#include "train/work_progress.h"

namespace tessera {
namespace {

constexpr int64_t kTrainingPictures = 1000;  // where nothing is held out: a few seconds

// "10 classes (airplane, automobile, bird, ...)".
std::string described(const std::vector<std::string>& classes) {
  constexpr size_t kNamed = 3;
  const size_t named = std::min(kNamed, classes.size());
  return fmt::format("{} classes ({}{})", classes.size(),
                     fmt::join(classes.begin(), classes.begin() + static_cast<long>(named), ", "),
                     classes.size() > named ? ", ..." : "");
}

// The recipe is JSON, and JSON is UTF-8; a folder's name may be any bytes.
void check_are_text(const std::vector<std::string>& names, const std::string& data) {
  using nlohmann::json;
  for (const std::string& name : names) {
    const std::string shown = json(name).dump(-1, ' ', false, json::error_handler_t::replace);
    TESSERA_CHECK_USAGE(json::parse(shown) == name,
                        "--data {}: the name of the class folder {} is not UTF-8; rename it", data,
                        shown);
  }
}

}  // namespace

FinetuneRecipe::FinetuneRecipe() {
  arch = "vit_base";
  crop_scale = {0.08, 1};
  base_lr = 1e-3;
  beta2 = 0.999;
  min_lr = 1e-6;
  model.drop_path = 0.1;
}

std::vector<RecipeField> FinetuneRecipe::fields() {
  std::vector<RecipeField> list = TrainingRecipe::fields();
  for (RecipeField& field : vit_fields(model)) list.push_back(std::move(field));
  const RecipeField own[] = {
      word_field("pooling", model.pooling, pooling_from_name, name_of),
      {"classes", &classes},
      {"encoder", &encoder},
      {"from-scratch", &from_scratch},
      {"unfreeze-blocks", &unfreeze_blocks},
      {"layer-decay", &layer_decay},
      {"mixup", &mixup},
      {"cutmix", &cutmix},
      {"label-smoothing", &label_smoothing},
      {"rand-augment", &rand_augment},
      {"random-erasing", &random_erasing},
  };
  list.insert(list.end(), std::begin(own), std::end(own));
  return list;
}

void FinetuneRecipe::check() const {
  model.check();
  TrainingRecipe::check();
  TESSERA_CHECK_USAGE(layer_decay > 0 && layer_decay <= 1,
                      "--layer-decay must be in (0, 1], got {}", layer_decay);
  TESSERA_CHECK_USAGE(unfreeze_blocks <= model.depth,
                      "--unfreeze-blocks {}: the model has {} blocks", unfreeze_blocks,
                      model.depth);
  mixing().check();
}

AugmentOptions FinetuneRecipe::augmentation() const {
  AugmentOptions options = TrainingRecipe::augmentation();
  if (rand_augment != 0) options.rand_augment = RandAugment{.magnitude = rand_augment};
  if (random_erasing != 0) options.erasing = RandomErasing{.probability = random_erasing};
  return options;
}

MixOptions FinetuneRecipe::mixing() const {
  return {.mixup_alpha = mixup, .cutmix_alpha = cutmix, .label_smoothing = label_smoothing};
}

void FinetuneTask::open(const TrainingData& data) {
  TrainingTask::open(data);
  take_classes(data.split.train->class_names(), data.spec);
}

void FinetuneTask::take_classes(const std::vector<std::string>& names, const std::string& data) {
  check_has_classes(names, "--data " + data);
  check_are_text(names, data);
  TESSERA_CHECK_USAGE(recipe_.classes.empty() || recipe_.classes == names,
                      "--data {}: {} are not the {} of the model's head", data, described(names),
                      described(recipe_.classes));
  recipe_.classes = names;
  recipe_.model.classes = std::ssize(names);
}

void FinetuneTask::configure(DataOptions& reading) const {
  reading.classes = recipe_.model.classes;
  reading.mix = recipe_.mixing();
}

VitClassifier& FinetuneTask::build(bool checkpoint_activations) {
  model_ = std::make_unique<VitClassifier>(recipe_.model, recipe_.seed);
  if (!checkpoint_.empty()) {
    const Checkpoint file(checkpoint_);
    const PretrainedEncoder encoder = encoder_in(file);
    load_encoder(*model_,
                 recipe_.from_scratch ? untrained_weights(file, recipe_.seed) : file.weights(),
                 encoder.config.grid());
    if (!recipe_.from_scratch) {
      recipe_.encoder = encoder.id;
      say_head_left(encoder);
    }
  }
  if (recipe_.unfreeze_blocks >= 0) model_->train_last_blocks(recipe_.unfreeze_blocks);
  model_->set_checkpointing(checkpoint_activations);
  return *model_;
}

void FinetuneTask::say_head_left(const PretrainedEncoder& encoder) {
  if (encoder.classes.empty()) return;
  const bool same = encoder.classes == recipe_.classes;
  remarks_.push_back(fmt::format(
      "note: the checkpoint's head of {} is left behind, a new one of {} begins",
      described(encoder.classes), same ? "the same classes" : described(recipe_.classes)));
}

std::vector<ParameterGroup> FinetuneTask::groups() const {
  return vit_parameter_groups(*model_, recipe_.model.depth, recipe_.layer_decay,
                              recipe_.weight_decay);
}

BatchLoss FinetuneTask::loss(const std::vector<Tensor>& tensors) {
  return {soft_cross_entropy((*model_)(tensors[0]), tensors[1]), {}};
}

// Every held-out picture, or some of the training's: top-1 and top-5 in percent, and the plain
// cross-entropy.
Evaluation FinetuneTask::evaluate(int64_t) {
  const EvaluationReader& reader = *data().judged;
  const bool held_out = data().split.held_out->size() > 0;
  const Normalisation normalisation{recipe_.mean, recipe_.std};
  const Answers answers = answers_of(*model_, normalisation, reader,
                                     spread_over(reader.size(), held_out ? -1 : kTrainingPictures));
  const Classification scores = classify(answers.logits, answers.labels);
  const Tensor labels = Tensor::from(answers.labels, {std::ssize(answers.labels)});
  const double loss = cross_entropy(answers.logits, labels).item();
  Evaluation found;
  found.figures = {
      {"eval_top1", 100 * scores.top1}, {"eval_top5", 100 * scores.top5}, {"eval_loss", loss}};
  found.summary =
      fmt::format("{:.2f} % right, {:.2f} % among the first five, loss {:.4f}, on {} {}",
                  100 * scores.top1, 100 * scores.top5, loss, scores.pictures, data().judged_name);
  return found;
}

TaskCost FinetuneTask::cost(bool checkpoint_activations) const {
  const int64_t depth = recipe_.model.depth;
  const ModelCost cost =
      cost_of(recipe_.model, recipe_.unfreeze_blocks < 0 ? -1 : depth - recipe_.unfreeze_blocks,
              {recipe_.precision, checkpoint_activations});
  return {cost.parameters, cost.step_flops,
          training_bytes(cost, recipe_.batch_size, recipe_.precision)};
}

Answers answers_of(const VitClassifier& model, const Normalisation& normalisation,
                   const EvaluationReader& reader, std::span<const int64_t> pictures) {
  const NoGrad no_grad;
  Answers answers;
  std::vector<Tensor> logits;                               // (B, classes) each
  WorkProgress progress("pictures", std::ssize(pictures));  // a large set takes minutes
  for_each_batch(
      reader, pictures,
      [&](const PictureBatch& batch) {
        const Tensor seen = raw::to(normalisation.apply(batch.images), model.device());
        logits.push_back(raw::to(model(seen), Device::kCpu));
        for (const int64_t picture : batch.pictures) {
          answers.pictures.push_back(picture);
          answers.labels.push_back(reader.label(picture));
        }
      },
      std::ref(progress));
  answers.logits = raw::cat(logits, 0);
  return answers;
}

TrainedClassifier load_classifier(const Checkpoint& checkpoint) {
  TrainedClassifier trained;
  read_recipe(trained.recipe, checkpoint);
  trained.recipe.model.classes = std::ssize(trained.recipe.classes);
  naming(checkpoint.file().path(), [&] {
    trained.recipe.check();
    trained.model = std::make_unique<VitClassifier>(trained.recipe.model);
    trained.model->load_state_dict(checkpoint.weights());
  });
  trained.model->set_training(false);
  return trained;
}

}  // namespace tessera
