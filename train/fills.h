// The classical fills that a model has to beat, and the measure: PSNR over the hidden pixels.
// Rule: a fill sees visible pixels only and leaves them as they are. All work on one picture of
// floats in [0, 1], laid out (C, H, W), with one mask byte a pixel (H, W): 0 visible, else hidden.
// At least one pixel of each kind is needed, else an Error.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

struct PictureSize {
  int64_t channels = 0, height = 0, width = 0;
  int64_t pixels() const { return height * width; }
};

using Mask = std::span<const uint8_t>;  // (H, W)
using Pixels = std::span<const float>;  // (C, H, W)

// The mean of the picture's visible pixels, per channel.
std::vector<float> fill_mean(Pixels picture, Mask hidden, PictureSize size);

// The nearest visible pixel (Euclidean), of equally near ones the uppermost, then the leftmost.
std::vector<float> fill_nearest(Pixels picture, Mask hidden, PictureSize size);

// The nearest visible pixels to the left, right, above and below, weighted by 1 / distance. The
// mean where there is none of the four.
std::vector<float> fill_bilinear(Pixels picture, Mask hidden, PictureSize size);

// Each hidden pixel the average of its two to four neighbours inside the picture: the solution of
// Laplace's equation, the strongest of the four. Iterated until the largest change a pixel would
// still make is below 1e-5 (and further: see the .cc for what that costs and buys).
std::vector<float> fill_harmonic(Pixels picture, Mask hidden, PictureSize size);

// 10 log10(1 / mean squared error) in dB over the hidden pixels and all channels, `guess` clipped
// to [0, 1] and not rounded, at most 100.
double masked_psnr(Pixels truth, Pixels guess, Mask hidden, PictureSize size);

}  // namespace tessera
