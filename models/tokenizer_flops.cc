// What tokenizers cost: convolutions, counted one by one.
#include "models/flops.h"

namespace tessera {
namespace {

// Sums over the convolutions of a network, for one picture.
struct Convolutions {
  double macs = 0, kept = 0;
  int64_t parameters = 0;

  // in -> out channels, k x k, at `places` positions of its result (of its input where it is
  // transposed). Keeps its input for the backward pass, and so does the ReLU beside it.
  void add(int64_t in, int64_t out, int64_t k, double places, double input_places) {
    macs += places * double(in * out * k * k);
    parameters += in * out * k * k + out;
    kept += 2 * input_places * double(in);
  }
  void add(int64_t in, int64_t out, int64_t k, double places) { add(in, out, k, places, places); }
};

// `c` with all that the mixture of tokens keeps at `positions` of the grid: logits, noisy logits,
// mixture, and the KL term's copies.
ModelCost cost_of(const Convolutions& c, int64_t table, double positions, int64_t vocab) {
  constexpr double kCopiesOfLogits = 6;
  ModelCost cost;
  cost.parameters = cost.trained_parameters = c.parameters + table;
  cost.forward_flops = 2 * c.macs;
  cost.step_flops = 3 * cost.forward_flops;
  cost.activation_bytes = 4 * (c.kept + kCopiesOfLogits * positions * double(vocab));
  return cost;
}

}  // namespace

ModelCost cost_of(const DvaeConfig& config, int64_t height, int64_t width) {
  const int64_t w = config.hidden;
  const double pixels = double(height) * double(width);
  const auto residual = [w](Convolutions& c, double places) {
    c.add(w, w, 3, places);
    c.add(w, w, 3, places);
    c.add(w, w, 1, places);
  };
  Convolutions c;
  double places = pixels;
  for (int64_t i = 0; i < config.layers; ++i) {
    c.add(i == 0 ? config.channels : w, w, 4, places / 4, places);
    places /= 4;
    residual(c, places);
  }
  c.add(w, config.vocab, 1, places);
  c.macs += places * double(config.vocab * config.codebook_dim);
  const double positions = places;
  for (int64_t i = 0; i < config.layers; ++i) {
    c.add(i == 0 ? config.codebook_dim : w, w, 4, places);
    places *= 4;
    residual(c, places);
  }
  c.add(w, config.channels, 1, pixels);
  return cost_of(c, config.vocab * config.codebook_dim, positions, config.vocab);
}

ModelCost cost_of(const DalleConfig& config, int64_t height, int64_t width) {
  const double pixels = double(height) * double(width), positions = pixels / 64;
  Convolutions c;
  // The kernels of a block's four convolutions; the first and the last meet its outer width.
  const auto group = [&](int64_t in, int64_t out, const int64_t(&kernels)[4], double places) {
    const int64_t inner = out / 4;
    for (int64_t i = 0; i < config.blocks_per_group; ++i, in = out) {
      if (in != out) c.add(in, out, 1, places);
      c.add(in, inner, kernels[0], places);
      c.add(inner, inner, kernels[1], places);
      c.add(inner, inner, kernels[2], places);
      c.add(inner, out, kernels[3], places);
    }
  };
  int64_t in = config.width;
  double places = pixels;
  c.add(config.channels, config.width, 7, pixels);
  for (int g = 0; g < 4; ++g, places /= 4) {
    const int64_t out = config.width << g;
    group(in, out, {3, 3, 3, 1}, places);
    in = out;
  }
  c.add(in, config.vocab, 1, positions);
  in = config.decoder_width;
  places = positions;
  c.add(config.vocab, config.decoder_width, 1, positions);
  for (int g = 0; g < 4; ++g, places *= 4) {
    const int64_t out = config.width << (3 - g);
    group(in, out, {1, 3, 3, 3}, places);
    in = out;
  }
  c.add(in, 2 * config.channels, 1, pixels);
  return cost_of(c, 0, positions, config.vocab);
}

}  // namespace tessera
