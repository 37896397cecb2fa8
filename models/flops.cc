// Counting parameters, FLOPs and activations.
#include "models/flops.h"

#include "autograd/functions.h"

namespace tessera {
namespace {

int64_t linear_parameters(int64_t in, int64_t out) { return in * out + out; }

// A block's width, that of its attention (heads times head width) and its MLP's.
struct BlockSize {
  int64_t width, attention, hidden;

  // Two norms, qkv with its biases, proj, fc1, fc2.
  int64_t parameters(int64_t qkv_biases) const {
    return 4 * width + 3 * attention * width + qkv_biases + linear_parameters(attention, width) +
           linear_parameters(width, hidden) + linear_parameters(hidden, width);
  }
  // Multiply-adds on n tokens: four products, then q k^T and the mixing of v.
  double macs(double n) const {
    return n * (4 * double(width) * double(attention) + 2 * double(width) * double(hidden)) +
           2 * n * n * double(attention);
  }
  // Bytes kept for each token: in f32 x and x after the first half; in the run's precision qkv, the
  // attention's output and fc1's; and the norms' and the GELU's outputs where they are not made
  // again.
  double kept(DType precision) const {
    const auto unless_made_again = [](int64_t outputs, int64_t inputs) {
      return outputs < kMadeAgainFrom ? inputs : 0;
    };
    const int64_t low = 4 * attention + hidden + unless_made_again(3 * attention, width) +
                        unless_made_again(hidden, width) + unless_made_again(width, hidden);
    return 2 * input() + double(size_of(precision)) * double(low);
  }
  // Of it the block's input, which alone is kept where activations are checkpointed.
  double input() const { return 4 * double(width); }
  // The backward pass's own bytes for each token, at its first block, when all is still kept: in
  // widths of the MLP, gradients of what goes in and out of its GELU and what was made again. A
  // block that was run again has let go of most of it by then.
  double at_work(const StepMemory& memory) const {
    if (memory.checkpoint_activations) return 1.55 * 4 * double(hidden);
    return double(size_of(memory.precision)) * double((width < kMadeAgainFrom ? 3 : 5) * hidden);
  }
};

// A tower's bytes for one picture of n tokens: kept by all blocks, or by none but the one at work.
double kept_by(const BlockSize& block, double depth, double n, const StepMemory& memory) {
  if (!memory.checkpoint_activations) return n * depth * block.kept(memory.precision);
  // What a block was run in before, in f32 sizes, serves the next one in 16 bits, too.
  return n * (depth * block.input() + block.kept(DType::kF32));
}

// Row statistics and what the allocator's size classes round up. With it and at_work() the estimate
// is within 4 % of the measured peak for MAE and classifiers, tiny and base, 2 to 64 pictures in
// f32; with checkpoints or 16 bits within a quarter.
constexpr double kRoom = 1.03;

void set_flops(ModelCost& cost, double embed_macs, double other_macs) {
  cost.forward_flops = 2 * (embed_macs + other_macs);
  cost.step_flops = 2 * (2 * embed_macs + 3 * other_macs);
}

BlockSize block_size(const VitConfig& c) { return {c.dim, c.attention_dim(), c.hidden()}; }

// The backward pass's own bytes for one picture.
double bytes_at_work(const VitConfig& c, const StepMemory& memory) {
  return double(1 + c.patches()) * block_size(c).at_work(memory);
}

// Tower with the head that a model puts on it: `head_parameters`, and for one picture its
// multiply-adds and the numbers it keeps.
ModelCost cost_of_tower(const VitConfig& c, int64_t head_parameters, double head_macs,
                        double head_kept, const StepMemory& memory) {
  const int64_t tokens = 1 + c.patches(), attention = c.attention_dim();
  const BlockSize block = block_size(c);
  const int64_t biases = c.qkv_bias == QkvBias::kAll          ? 3 * attention
                         : c.qkv_bias == QkvBias::kQueryValue ? 2 * attention
                                                              : 0;
  const int64_t tables = c.relative_bias == RelativeBias::kNone     ? 0
                         : c.relative_bias == RelativeBias::kShared ? 1
                                                                    : c.depth;
  const int64_t scales = c.layer_scale > 0 ? 2 * c.dim : 0;
  ModelCost cost;
  cost.parameters = c.dim + (c.absolute_positions ? tokens * c.dim : 0) +
                    linear_parameters(c.patch_values(), c.dim) +
                    tables * relative_distances(c.grid()) * c.heads +
                    c.depth * (block.parameters(biases) + scales) + head_parameters;
  cost.trained_parameters = cost.parameters;

  const double n = double(tokens), depth = double(c.depth), dim = double(c.dim);
  const double embed = double(c.patches() * c.patch_values()) * dim;
  set_flops(cost, embed, depth * block.macs(n) + head_macs);
  // Layer scale keeps what it multiplies, once in each half.
  const double at_once = memory.checkpoint_activations ? 1 : depth;  // blocks whose inside is there
  const double scaled = double(size_of(memory.precision)) * at_once * n * double(scales);
  cost.activation_bytes = kRoom * 4 * (double(c.patches() * c.patch_values()) + head_kept);
  if (c.depth > 0) {
    cost.activation_bytes +=
        kRoom * (scaled + kept_by(block, depth, n, memory)) + bytes_at_work(c, memory);
  }
  // Every block keeps the relative bias that it added, of a shared table or its own.
  cost.batch_bytes = tables > 0 ? 4 * at_once * double(c.heads) * n * n : 0;
  return cost;
}

}  // namespace

ModelCost cost_of(const MaeConfig& c, const StepMemory& memory) {
  const int64_t tokens = 1 + c.patches();
  const BlockSize encoder = {c.dim, c.dim, c.hidden(c.dim)};
  const BlockSize decoder = {c.decoder_dim, c.decoder_dim, c.hidden(c.decoder_dim)};
  ModelCost cost;
  cost.trained_parameters = c.dim + linear_parameters(c.patch_values(), c.dim) +
                            c.depth * encoder.parameters(3 * c.dim) + 2 * c.dim + c.decoder_dim +
                            linear_parameters(c.dim, c.decoder_dim) +
                            c.decoder_depth * decoder.parameters(3 * c.decoder_dim) +
                            2 * c.decoder_dim + linear_parameters(c.decoder_dim, c.patch_values());
  cost.parameters = cost.trained_parameters + tokens * (c.dim + c.decoder_dim);

  const double dim = double(c.dim), width = double(c.decoder_dim),
               values = double(c.patch_values());
  const double kept = double(c.kept()), visible = 1 + kept, all = double(tokens);
  const double removed = all - visible;
  set_flops(cost, kept * values * dim,
            double(c.depth) * encoder.macs(visible) + visible * dim * width +
                double(c.decoder_depth) * decoder.macs(all) + removed * width * values);

  // Beside the blocks: patch vectors; final norms' input and output; the decoder's rows that are
  // to be predicted, and what the prediction misses them by. Of blocks that are run again the
  // decoder's is at work when all is still kept.
  double towers = kept_by(decoder, double(c.decoder_depth), all, memory);
  towers += memory.checkpoint_activations ? double(c.depth) * visible * encoder.input()
                                          : kept_by(encoder, double(c.depth), visible, memory);
  cost.activation_bytes =
      kRoom * (4 * (kept * values + visible * 2 * dim + removed * (2 * width + values)) + towers) +
      all * decoder.at_work(memory);
  return cost;
}

ModelCost cost_of(const BeitConfig& c, int64_t target, const StepMemory& memory) {
  const double rows = double(target), dim = double(c.dim), vocab = double(c.vocab);
  // Beside the tower mask token, norm and head; the last norm's input and output, logits and their
  // gradient.
  return cost_of_tower(c, 3 * c.dim + linear_parameters(c.dim, c.vocab), rows * dim * vocab,
                       rows * (2 * dim + 2 * vocab), memory);
}

ModelCost cost_of(const ClassifierConfig& c, int64_t frozen_blocks, const StepMemory& memory) {
  const double dim = double(c.dim), classes = double(c.classes);
  ModelCost cost = cost_of_tower(c, 2 * c.dim + linear_parameters(c.dim, c.classes), dim * classes,
                                 2 * dim + 2 * classes, memory);
  if (frozen_blocks < 0) return cost;
  // What is below goes forward and keeps nothing, not even the patches' vectors.
  VitConfig below = c, above = c;
  below.depth = frozen_blocks;
  above.depth = c.depth - frozen_blocks;
  const ModelCost frozen = cost_of_tower(below, 0, 0, 0, memory);
  const ModelCost learning = cost_of_tower(above, 0, 0, 2 * dim + 2 * classes, memory);
  cost.trained_parameters -= frozen.parameters;
  cost.step_flops -= frozen.step_flops - frozen.forward_flops;
  cost.activation_bytes =
      learning.activation_bytes - kRoom * 4 * double(c.patches() * c.patch_values());
  cost.batch_bytes = learning.batch_bytes;
  return cost;
}

double training_bytes(const ModelCost& cost, int64_t batch, DType precision) {
  const double shadow = precision == DType::kF32 ? 0 : double(size_of(precision));
  return 4.0 * double(cost.parameters) + (3 * 4.0 + shadow) * double(cost.trained_parameters) +
         double(batch) * cost.activation_bytes + cost.batch_bytes;
}

}  // namespace tessera
