// What autograd hangs on a tensor: a leaf's gradient and shadow, or the node that computed it.
// Rule: for the tape and autocast alone; everybody else asks their functions.
#pragma once

#include <memory>

#include "autograd/tape.h"

namespace tessera {

struct Variable final : AutogradMeta {
  std::shared_ptr<Node> node;  // the producer; for a leaf its accumulator
  int output = 0;
  bool leaf = false;
  Tensor slot;            // a leaf's gradient
  bool has_slot = false;  // the slot was given and must be written, not replaced
  bool arrived = false;   // a gradient has arrived since zero_grad
  // A leaf's copy in bf16 or f16, as it was at this version of the leaf's storage.
  Tensor shadow;
  uint64_t shadow_version = 0;
};

inline Variable* variable_of(const Tensor& t) {
  return static_cast<Variable*>(t.autograd_meta().get());
}

}  // namespace tessera
