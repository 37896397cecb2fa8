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

// With 2,000 and with 20,000 labels on a small MAE's features, plain SGD at this rate and batch was
// within half a point of the best of eleven settings; LARS needs the reference's rate, 6.4 for its
// 16384 pictures a step, for any batch, as its steps do not depend on the gradient's length.
struct LinearProbeOptions {
  int64_t epochs = 90;
  int64_t batch_size = 256;
  bool lars = false;          // else SGD; momentum 0.9 either way
  double lr = -1;             // at its peak; < 0: 0.03 batch / 256, with LARS 6.4
  double warmup_epochs = -1;  // < 0: a ninth of the epochs, the reference's 10 of 90
  double weight_decay = 0;
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
