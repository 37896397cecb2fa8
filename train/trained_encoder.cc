// What train/pretrained.h finds, built to be looked at.
#include "train/trained_encoder.h"

#include "engine/error.h"
#include "train/pretrained.h"

namespace tessera {

TrainedEncoder trained_encoder(const Checkpoint& checkpoint) {
  const PretrainedEncoder found = encoder_in(checkpoint);
  try {
    const std::map<std::string, Tensor> weights = judged_weights(checkpoint);
    VitConfig config = found.config;
    // A classifier would make one relative bias for each block of it; here it stays what it is.
    if (weights.contains("rel_pos_bias.relative_position_bias_table")) {
      config.relative_bias = RelativeBias::kShared;
    }
    TrainedEncoder trained{found.arch,
                           std::make_unique<VitEncoder>(config, found.final_norm),
                           {found.mean, found.std}};
    trained.model->load(weights);
    return trained;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", checkpoint.file().path(), error.what()));
  }
}

}  // namespace tessera
