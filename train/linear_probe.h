// A linear classifier on frozen features: BatchNorm without affine parameters and one linear layer,
// trained as in MAE's main_linprobe.py (arXiv 2111.06377, appendix A.2), but on features computed
// once from unaugmented pictures.
// Rule: a function of features, labels and options; the order of examples is a key's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/tensor.h"

namespace tessera {

struct LinearProbeOptions {
  int64_t epochs = 90;
  // The reference's 16384 is 78 steps an epoch of ImageNet; small sets need smaller batches.
  int64_t batch_size = 1024;
  double base_lr = 0.1;  // of 256 pictures a step
  double warmup_epochs = 10;
  double weight_decay = 0;
  bool lars = true;  // else SGD; momentum 0.9 either way
  uint64_t seed = 0;

  void check() const;  // UsageError
};

struct LinearProbe {
  Tensor scores;          // (M, classes) f32 for the queries, logits
  double train_top1 = 0;  // of the examples, in the last epoch, as they were learned
};

// examples (N, D), queries (M, D) f32. The last examples of an epoch that fill no batch are left
// out; with fewer than a batch of them a batch is all of them.
LinearProbe linear_probe(const Tensor& examples, std::span<const int64_t> labels, int64_t classes,
                         const Tensor& queries, const LinearProbeOptions& options);

}  // namespace tessera
