// From a recipe to the tower it describes, and the weights into it.
#include "train/trained_encoder.h"

#include "engine/error.h"
#include "train/pretrained.h"

namespace tessera {

TrainedEncoder trained_encoder(const Checkpoint& checkpoint) {
  const PretrainedEncoder encoder = encoder_in(checkpoint);
  try {
    TrainedEncoder trained{std::make_unique<VitEncoder>(encoder.config, encoder.final_norm),
                           {encoder.mean, encoder.std}};
    trained.model->load(checkpoint.weights());
    return trained;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", checkpoint.file().path(), error.what()));
  }
}

}  // namespace tessera
