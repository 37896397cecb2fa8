// Activation checkpointing (Chen et al., 2016, "Training deep nets with sublinear memory cost"): of
// a block only its input is kept, and the backward pass runs the block again. Rule: exact to the
// bit. The second run sees the same autocast and draws the same random numbers, and parameters
// receive their gradients in the same order.
#pragma once

#include <functional>

#include "engine/tensor.h"

namespace tessera {

using BlockFunction = std::function<Tensor(const Tensor& x)>;

// block(x). The block must outlive the backward pass and depend on nothing that changes before it.
Tensor checkpointed(const BlockFunction& block, const Tensor& x);

}  // namespace tessera
