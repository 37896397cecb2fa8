// Features of both sets, then the probes of train/probes/ridge.h and train/probes/neighbours.h.
#include "train/online_probe.h"

#include <algorithm>

#include "engine/error.h"
#include "train/picture_batches.h"
#include "train/probes/classification.h"
#include "train/probes/features.h"
#include "train/probes/neighbours.h"
#include "train/probes/ridge.h"

namespace tessera {
namespace {

constexpr int64_t kTaught = 2000, kJudged = 1000;  // pictures
constexpr int64_t kNeighbours = 20;

EvaluationReader reader_of(std::shared_ptr<const Dataset> pictures, const TrainingRecipe& recipe) {
  const auto [height, width, channels] = recipe.picture_shape();
  return EvaluationReader(std::move(pictures), static_cast<int>(height), static_cast<int>(width),
                          static_cast<int>(channels));
}

}  // namespace

OnlineProbe::OnlineProbe(const TrainingData& data, const TrainingRecipe& recipe)
    : taught_(reader_of(data.split.train, recipe)),
      judged_(reader_of(data.split.held_out, recipe)),
      normalisation_{recipe.mean, recipe.std},
      classes_(std::ssize(taught_.class_names())) {
  check_has_classes(taught_.class_names(), "--probe-every");
  TESSERA_CHECK_USAGE(judged_.size() > 0,
                      "--probe-every: nothing is held out to judge on; --holdout 0.1 keeps a tenth "
                      "of each class back");
}

OnlineProbe::Result OnlineProbe::measure(const VitEncoder& encoder) const {
  const auto features = [&](const EvaluationReader& reader, int64_t most) {
    return extract_features(encoder, normalisation_, reader,
                            {spread_over(reader.size(), most), {encoder.config().depth}});
  };
  const Features taught = features(taught_, kTaught), judged = features(judged_, kJudged);
  const Tensor examples = taught.of(0, Pool::kBoth), queries = judged.of(0, Pool::kBoth);
  NeighbourOptions neighbours;
  neighbours.k = std::min(kNeighbours, examples.size(0));
  const double ridge =
      classify(ridge_probe(examples, taught.labels, classes_, queries).scores, judged.labels).top1;
  const double knn =
      classify(nearest_neighbours(examples, taught.labels, classes_, queries, neighbours),
               judged.labels)
          .top1;
  return {{{"probe_ridge", ridge}, {"probe_knn", knn}},
          fmt::format("of {} held-out pictures the features tell {:.2f} % (ridge), {:.2f} % ({} "
                      "neighbours), {} with labels",
                      judged.labels.size(), ridge * 100, knn * 100, neighbours.k,
                      taught.labels.size())};
}

}  // namespace tessera
