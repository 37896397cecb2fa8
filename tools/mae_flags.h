// The flags of `tessera pretrain mae`.
#pragma once

#include "tools/training_flags.h"
#include "train/pretrain_mae.h"

namespace tessera {

class MaeFlags : public TrainingFlags {
 public:
  // Adds the flags to the command.
  explicit MaeFlags(CLI::App& app);

  MaeRecipe recipe;

 private:
  void add_model_flags();
  void start_from_arch() override;
  void finish_recipe() override;

  int64_t published_patch_ = 0;  // of the architecture
};

}  // namespace tessera
