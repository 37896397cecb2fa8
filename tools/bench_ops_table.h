// What `tessera bench ops` times: every function of autograd/functions.h that computes or moves
// something, and the trainer's kernels, at the shapes of a vision transformer's training.
// Rule: a row is plain data, and says what has to be done at least: the bytes that must be read and
// written however it is computed, and the operations. A function of functions.h has a row here or a
// reason in ops_without_cost(); a test holds the two together.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

struct OpInput {
  enum class Kind { kLeaf, kData, kIndex, kMask };  // a leaf wants a gradient
  Kind kind;
  Shape shape;
  int64_t below = 0;  // kIndex: in [0, below)
};

// A multiply-add of a product is two operations. Elsewhere their number is a convention that places
// a dot on the roofline picture and bounds nothing: one for each element of an elementwise result
// or of a sum, eight for a layer norm's, five for a softmax's.
struct Work {
  double flops = 0, bytes = 0;
};
inline constexpr Work kNoWork = {};  // nothing to time

using OpCall = std::function<Tensor(const std::vector<Tensor>&)>;

struct OpBench {
  std::string op;  // its name in functions.h, or the backend's
  std::vector<OpInput> inputs;
  Work forward, backward;
  OpCall run;
};

// Steps of `batch` pictures, floating tensors of this type on this device: ViT-B/16 at 224 pixels,
// MAE's decoder, BEiT's head, a tokenizer's convolutions.
std::vector<OpBench> op_benches(int64_t batch, DType dtype, Device device = Device::kCpu);

struct OpWithoutCost {
  std::string op, why;
};
const std::vector<OpWithoutCost>& ops_without_cost();

// ---- What the families of rows are written with ----

inline OpInput leaf(const Shape& shape) { return {OpInput::Kind::kLeaf, shape}; }
inline OpInput data(const Shape& shape) { return {OpInput::Kind::kData, shape}; }
inline OpInput mask(const Shape& shape) { return {OpInput::Kind::kMask, shape}; }
inline OpInput indices(const Shape& shape, int64_t below) {
  return {OpInput::Kind::kIndex, shape, below};
}

struct OpRows {
  const int64_t batch;
  const DType dtype;
  const Device device = Device::kCpu;
  std::vector<OpBench> list = {};

  void add(std::string op, std::vector<OpInput> inputs, Work forward, Work backward, OpCall run) {
    list.push_back({std::move(op), std::move(inputs), forward, backward, std::move(run)});
  }
  // `elements` of the chosen type are read or written, and some more bytes.
  Work work(double flops, int64_t elements, int64_t more_bytes = 0) const {
    return {flops, double(elements) * double(size_of(dtype)) + double(more_bytes)};
  }
  Work move(int64_t elements) const { return work(0, elements); }
};

// Their sizes. MAE sees 49 of 196 patches, BEiT masks 75.
namespace vit {
inline constexpr int64_t kPatches = 196, kTokens = 197, kVisible = 50, kRemoved = 147, kMasked = 75;
inline constexpr int64_t kWidth = 768, kHeads = 12;                                // the encoder
inline constexpr int64_t kNarrow = 512, kNarrowHeads = 16, kHidden = 4 * kNarrow;  // the decoder
inline constexpr int64_t kVocabulary = 8192;
}  // namespace vit

void add_elementwise_rows(OpRows* rows);
void add_move_rows(OpRows* rows);
void add_reduction_rows(OpRows* rows);
void add_index_rows(OpRows* rows);
void add_product_rows(OpRows* rows);
void add_picture_rows(OpRows* rows);
void add_norm_rows(OpRows* rows);
void add_loss_rows(OpRows* rows);
void add_training_rows(OpRows* rows);

}  // namespace tessera
