// A model of two layers and its short training.
#include "train/probes/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/error.h"
#include "engine/philox.h"
#include "engine/raw.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "train/probes/classification.h"
#include "train/probes/sgd.h"
#include "train/schedule.h"

namespace tessera {
namespace {

// The reference's head, under its names: head.0 and head.1.
class ProbeHead : public Module {
 public:
  ProbeHead(int64_t dim, int64_t classes, uint64_t seed)
      : norm_(dim, 1e-6, 0.1, false), linear_(dim, classes) {
    add_child("0", norm_);
    add_child("1", linear_);
    init::normal_(linear_.weight(), init::weight_key(seed, 0), 0, 0.01);
  }
  Tensor operator()(const Tensor& x) { return linear_(norm_(x)); }

 private:
  BatchNorm norm_;
  Linear linear_;
};

// 0 .. n - 1 in this epoch's order (Fisher and Yates).
std::vector<int64_t> shuffled(int64_t n, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  PhiloxStream random({seed, static_cast<uint32_t>(epoch), kSiteOrder});
  for (int64_t i = n - 1; i > 0; --i) {
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.below(i + 1))]);
  }
  return order;
}

}  // namespace

void LinearProbeOptions::check() const {
  TESSERA_CHECK_USAGE(epochs > 0, "--epochs {} must be positive", epochs);
  TESSERA_CHECK_USAGE(batch_size > 1, "--batch-size {} must be at least 2", batch_size);
  TESSERA_CHECK_USAGE(std::isfinite(lr) && lr != 0, "--lr {} must be positive", lr);
  TESSERA_CHECK_USAGE(warmup_epochs <= double(epochs),
                      "--warmup-epochs {} is not in 0..{}, the epochs", warmup_epochs, epochs);
  TESSERA_CHECK_USAGE(weight_decay >= 0 && std::isfinite(weight_decay),
                      "--weight-decay {} must not be negative", weight_decay);
}

LinearProbe linear_probe(const Tensor& examples, std::span<const int64_t> labels, int64_t classes,
                         const Tensor& queries, const LinearProbeOptions& options) {
  const int64_t n = examples.size(0);
  TESSERA_CHECK(std::ssize(labels) == n && examples.size(1) == queries.size(1),
                "[linear_probe] examples {} with {} labels, queries {}", describe(examples),
                labels.size(), describe(queries));
  TESSERA_CHECK_USAGE(n > 1, "a linear probe wants at least 2 pictures with labels, not {}", n);
  options.check();
  const int64_t batch = std::min(options.batch_size, n), steps = n / batch;
  const double usual = options.lars ? 6.4 : 0.03 * double(batch) / 256;
  const double warmup =
      options.warmup_epochs < 0 ? double(options.epochs) / 9 : options.warmup_epochs;
  const LearningRateSchedule schedule{.peak = options.lr < 0 ? usual : options.lr,
                                      .warmup_steps = warmup * double(steps),
                                      .total_steps = options.epochs * steps};
  ProbeHead head(examples.size(1), classes, options.seed);
  Sgd optimizer(head, {.weight_decay = options.weight_decay, .lars = options.lars});
  LinearProbe probe;
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const std::vector<int64_t> order = shuffled(n, options.seed, epoch);
    double right = 0;
    for (int64_t k = 0; k < steps; ++k) {
      const auto rows =
          std::span(order).subspan(static_cast<size_t>(k * batch), static_cast<size_t>(batch));
      std::vector<int64_t> truth;
      for (const int64_t row : rows) truth.push_back(labels[static_cast<size_t>(row)]);
      const Tensor x = raw::index_select(examples, 0, Tensor::from(rows, {batch}));
      optimizer.zero_grad();
      const Tensor logits = head(x);
      backward(cross_entropy(logits, Tensor::from(truth, {batch})));
      optimizer.step(schedule.at(epoch * steps + k));
      right += classify(logits, truth).top1;
    }
    probe.train_top1 = right / double(steps);
  }
  const NoGrad no_grad;
  head.set_training(false);
  probe.scores = head(queries);
  return probe;
}

}  // namespace tessera
