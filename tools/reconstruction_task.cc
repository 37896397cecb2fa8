// The flags, and the order in which they are followed: machine, model, pictures.
#include "tools/reconstruction_task.h"

#include <utility>

#include "tools/flag_values.h"

namespace tessera {

void ReconstructionFlags::add_to(CLI::App& app) {
  model.add_to(app);
  app.add_option("--data", data, "a picture, a folder, builtin: or builtin:N [default: builtin:]")
      ->type_name("PATH");
  app.add_option("--holdout", holdout,
                 "take only this share of each class, the last by name [default: 0, all]")
      ->type_name("SHARE");
  app.add_option("--mask-ratio", mask_ratio,
                 "share of the patches that is hidden [default: the training's]")
      ->type_name("R");
  app.add_option("--seed", seed, "of the masks [default: 0]")
      ->check(not_negative())
      ->type_name("N");
  machine.add_to(app);
}

ReconstructionTask prepare(const ReconstructionFlags& flags) {
  const Device device = flags.machine.apply();
  TrainedModel trained = load_model(flags.model);
  trained.model->move_to(device);
  const MaeConfig& config = trained.config();
  EvaluationReader reader = evaluation_pictures(flags.data, flags.holdout, config.image_height,
                                                config.image_width, config.channels);
  const double mask_ratio = flags.mask_ratio < 0 ? config.mask_ratio : flags.mask_ratio;
  return {std::move(trained), std::move(reader), mask_ratio, flags.seed};
}

}  // namespace tessera
