// Machine, checkpoint, encoder: in this order.
#include "tools/encoder_task.h"

#include <numeric>
#include <utility>

#include "engine/error.h"
#include "train/system.h"
#include "train/work_progress.h"

namespace tessera {

void EncoderFlags::add_to(CLI::App& app) {
  model.add_to(app);
  machine.add_to(app);
}

EvaluationReader EncoderTask::reader(std::shared_ptr<const Dataset> pictures) const {
  return EvaluationReader(std::move(pictures), static_cast<int>(config().image_height),
                          static_cast<int>(config().image_width),
                          static_cast<int>(config().channels));
}

std::vector<int64_t> EncoderTask::blocks(int64_t asked, bool all) const {
  const int64_t depth = config().depth;
  TESSERA_CHECK_USAGE(asked >= 0 && asked <= depth, "--block {}: this encoder has blocks 1 to {}",
                      asked, depth);
  if (!all) return {asked == 0 ? depth : asked};
  std::vector<int64_t> blocks(static_cast<size_t>(depth));
  std::iota(blocks.begin(), blocks.end(), 1);
  return blocks;
}

Features EncoderTask::features(const EvaluationReader& reader,
                               const FeatureRequest& request) const {
  // The table, and about as much again for what is made of it.
  const int64_t rows = request.all_tokens ? 1 + config().patches() : 2;
  const int64_t bytes = 2 * std::ssize(request.pictures) * std::ssize(request.blocks) * rows *
                        config().dim * static_cast<int64_t>(sizeof(float));
  const int64_t available = available_memory_bytes();
  TESSERA_CHECK_USAGE(available == 0 || bytes < available,
                      "features of {} pictures want {:.1f} GB, {:.1f} GB are free: --images takes "
                      "fewer",
                      request.pictures.size(), double(bytes) * 1e-9, double(available) * 1e-9);
  WorkProgress progress("pictures", std::ssize(request.pictures));
  return extract_features(*trained.model, trained.normalisation, reader, request,
                          [&](int64_t done) { progress(done); });
}

EncoderTask prepare(const EncoderFlags& flags) {
  const Device device = flags.machine.apply();
  const std::string path = flags.model.path();
  TrainedEncoder trained = trained_encoder(Checkpoint(path));
  TESSERA_CHECK_USAGE(flags.model.arch.empty() || flags.model.arch == trained.arch,
                      "--arch {}: {} holds a {}", flags.model.arch, path, trained.arch);
  trained.model->move_to(device);
  return {path, std::move(trained)};
}

}  // namespace tessera
