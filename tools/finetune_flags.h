// The flags of `tessera finetune`.
#pragma once

#include <string>

#include "tools/training_flags.h"
#include "train/finetune.h"

namespace tessera {

class FinetuneFlags : public TrainingFlags {
 public:
  // Adds the flags to the command.
  explicit FinetuneFlags(CLI::App& app);

  // Where the encoder's weights come from; "" when they are drawn, or are the resumed run's own.
  std::string encoder_file() const;

  FinetuneRecipe recipe;
  bool print_groups = false;

 private:
  void add_model_flags();
  void add_regularisation_flags();
  bool comes_first(const std::string& flag) const override;
  void start_from_arch() override;
  void finish_recipe() override;

  std::string checkpoint_;       // a file or a run's folder
  int64_t published_patch_ = 0;  // of an architecture that is trained from scratch
  VitConfig encoder_;            // that of the checkpoint
};

}  // namespace tessera
