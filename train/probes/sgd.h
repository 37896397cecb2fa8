// Gradient descent with momentum, plain (torch.optim.SGD) or with LARS (You, Gitman and Ginsburg,
// 2017, arXiv 1708.03888; MAE's util/lars.py), for heads that learn on frozen features.
// Rule: state is one buffer a parameter; a parameter that got no gradient stays as it is.
#pragma once

#include <vector>

#include "nn/module.h"

namespace tessera {

struct SgdOptions {
  double momentum = 0.9;
  double weight_decay = 0;  // on tensors of more than one dimension
  // Scales the gradient of every tensor of more than one dimension to `trust` of the tensor's own
  // length before it enters the momentum. Off: plain SGD.
  bool lars = false;
  double trust = 0.001;
};

class Sgd {
 public:
  Sgd(Module& model, const SgdOptions& options);

  void zero_grad();
  void step(double lr);

 private:
  struct Slot {
    Tensor parameter, momentum;
  };
  SgdOptions options_;
  std::vector<Slot> slots_;
};

}  // namespace tessera
