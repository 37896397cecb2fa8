// What train/pretrained.h finds, built to be looked at.
#include "train/trained_encoder.h"

#include "train/files/naming.h"
#include "train/pretrained.h"

namespace tessera {

TrainedEncoder trained_encoder(const Checkpoint& checkpoint) {
  const PretrainedEncoder found = encoder_in(checkpoint);
  return naming(checkpoint.file().path(), [&] {
    TrainedEncoder trained{found.arch,
                           std::make_unique<VitEncoder>(found.config, found.final_norm),
                           {found.mean, found.std}};
    trained.model->load(checkpoint.weights());
    return trained;
  });
}

}  // namespace tessera
