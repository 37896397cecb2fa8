// Machine, checkpoint, model, pictures: in this order.
#include "tools/classifier_task.h"

#include <utility>

#include "engine/error.h"

namespace tessera {

void ClassifierFlags::add_to(CLI::App& app) {
  app.add_option("--checkpoint", checkpoint,
                 "a fine-tuned model's checkpoint, or a run's folder: its newest")
      ->type_name("FILE|FOLDER");
  machine.add_to(app);
}

EvaluationReader ClassifierTask::reader(const std::string& data, double holdout) const {
  const ClassifierConfig& config = trained.model->config();
  return evaluation_pictures(data, holdout, config.image_height, config.image_width,
                             config.channels);
}

void ClassifierTask::check_classes(const std::vector<std::string>& names,
                                   const std::string& data) const {
  TESSERA_CHECK_USAGE(names.size() == classes().size(), "--data {}: {} classes; {} tells {} apart",
                      data, names.size(), path, classes().size());
  for (size_t i = 0; i < names.size(); ++i) {
    TESSERA_CHECK_USAGE(names[i] == classes()[i], "--data {}: class {} is {}; in {} it is {}", data,
                        i, names[i], path, classes()[i]);
  }
}

Answers ClassifierTask::answers(const EvaluationReader& reader,
                                const std::vector<int64_t>& pictures) const {
  return answers_of(*trained.model, {trained.recipe.mean, trained.recipe.std}, reader, pictures);
}

ClassifierTask prepare(const ClassifierFlags& flags) {
  const Device device = flags.machine.apply();
  const std::string path = CheckpointFlags{flags.checkpoint, ""}.path();
  TrainedClassifier trained = load_classifier(Checkpoint(path));
  trained.model->move_to(device);
  return {path, std::move(trained)};
}

}  // namespace tessera
