// One product for all angles of some queries, then a partial sort for each.
#include "train/probes/neighbours.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/error.h"
#include "engine/raw.h"

namespace tessera {
namespace {

constexpr int64_t kQueries = 256;  // at a time: their angles to 50,000 examples take 51 MB

// Rows of length 1; a row of zeros stays what it is.
Tensor unit_rows(const Tensor& x) {
  const Tensor squares = sum(x * x, {1}, true);  // (N, 1)
  return x * rsqrt(clamp(squares, 1e-24, 1e38));
}

}  // namespace

void NeighbourOptions::check(int64_t examples) const {
  TESSERA_CHECK_USAGE(k > 0 && k <= examples, "--knn-k {}: there are {} pictures with labels", k,
                      examples);
  TESSERA_CHECK_USAGE(temperature > 0 && std::isfinite(temperature),
                      "--knn-temperature {} must be positive", temperature);
}

Tensor nearest_neighbours(const Tensor& examples, std::span<const int64_t> labels, int64_t classes,
                          const Tensor& queries, const NeighbourOptions& options) {
  const int64_t n = examples.size(0), m = queries.size(0);
  TESSERA_CHECK(std::ssize(labels) == n && examples.size(1) == queries.size(1),
                "[nearest_neighbours] examples {} with {} labels, queries {}", describe(examples),
                labels.size(), describe(queries));
  options.check(n);
  const NoGrad no_grad;
  const Tensor known = transpose(unit_rows(examples), 0, 1), asked = unit_rows(queries);
  Tensor votes = Tensor::zeros({m, classes});
  float* out = votes.data<float>();
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t first = 0; first < m; first += kQueries) {
    const int64_t last = std::min(first + kQueries, m);
    const Tensor cosines = matmul(slice(asked, 0, first, last), known);  // (Q, N)
    for (int64_t q = first; q < last; ++q, out += classes) {
      const float* row = cosines.data<float>() + (q - first) * n;
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(
          order.begin(), order.begin() + options.k, order.end(),
          [row](int64_t a, int64_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
      // Relative to the nearest, which leaves the shares as they are and cannot overflow.
      std::vector<double> shares(static_cast<size_t>(classes), 0.0);
      double total = 0;
      for (int64_t i = 0; i < options.k; ++i) {
        const size_t example = static_cast<size_t>(order[static_cast<size_t>(i)]);
        const double weight = std::exp((row[example] - row[order[0]]) / options.temperature);
        shares[static_cast<size_t>(labels[example])] += weight;
        total += weight;
      }
      for (int64_t c = 0; c < classes; ++c) {
        out[c] = static_cast<float>(shares[static_cast<size_t>(c)] / total);
      }
    }
  }
  return votes;
}

}  // namespace tessera
