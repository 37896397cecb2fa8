// Initial weights as the reference implementations draw them, in place.
// Rule: numbers are drawn on the host from a key of (seed, parameter index), so that one seed gives
// the same weights on every device and for any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/philox.h"
#include "engine/tensor.h"
#include "nn/module.h"

namespace tessera::init {

// The key of the index-th parameter of a model.
inline RandomKey weight_key(uint64_t seed, uint32_t index) { return {seed, index, kSiteWeights}; }

// A tensor of the state dict, and the key of its place there.
struct Entry {
  const std::string& name;
  const Tensor& tensor;
  StateKind kind;
  RandomKey key;
};
// draw(entry) for the whole state dict, buffers too, in its order.
void for_each_tensor(Module& module, uint64_t seed, const std::function<void(const Entry&)>& draw);

void uniform_(const Tensor& t, RandomKey key, double low, double high);
void normal_(const Tensor& t, RandomKey key, double mean, double deviation);
// Glorot and Bengio (2010): U(+-sqrt(6 / (fan_in + fan_out))) with t (fan_out, ...) seen as a
// matrix (fan_out, fan_in). A fused qkv (3D, D) counts as one matrix, as in the official MAE.
void xavier_uniform_(const Tensor& t, RandomKey key);
// A normal of mean 0 with everything outside [low, high] (absolute bounds) drawn again, as
// timm's and BEiT's trunc_normal_. Error unless low < high and both sides can be reached.
void trunc_normal_(const Tensor& t, RandomKey key, double deviation, double low, double high);

}  // namespace tessera::init
