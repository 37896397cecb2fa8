// The projection of patch vectors, and the sin-cos table.
#include "nn/patch_embed.h"

#include <cmath>
#include <vector>

#include "autograd/functions.h"

namespace tessera {

PatchEmbed::PatchEmbed(int64_t channels, int64_t patch, int64_t dim)
    : proj_(channels, dim, patch, patch) {
  add_child("proj", proj_);
}

Tensor PatchEmbed::operator()(const Tensor& vectors) const {
  return linear(vectors, reshape(proj_.weight(), {proj_.weight().size(0), -1}), proj_.bias());
}

Tensor sincos_positions(int64_t dim, int64_t height, int64_t width) {
  TESSERA_CHECK_USAGE(dim > 0 && dim % 4 == 0,
                      "sin-cos positions need a width that is a multiple of 4, not {}", dim);
  const int64_t quarter = dim / 4;
  std::vector<float> table(static_cast<size_t>((1 + height * width) * dim), 0.0f);
  float* row = table.data() + dim;  // after the class token
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x, row += dim) {
      for (int64_t i = 0; i < quarter; ++i) {
        const double w = 1 / std::pow(10000.0, double(i) / double(quarter));
        row[i] = static_cast<float>(std::sin(double(x) * w));
        row[quarter + i] = static_cast<float>(std::cos(double(x) * w));
        row[2 * quarter + i] = static_cast<float>(std::sin(double(y) * w));
        row[3 * quarter + i] = static_cast<float>(std::cos(double(y) * w));
      }
    }
  }
  return Tensor::from(table, {1, 1 + height * width, dim});
}

}  // namespace tessera
