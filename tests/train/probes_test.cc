// Probes against slow readings of their definitions: every distance, every elimination, every step
// by hand.
#include <cmath>
#include <numeric>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/philox.h"
#include "engine/raw.h"
#include "nn/layers.h"
#include "tests/train/temp_folder.h"
#include "train/probes/classification.h"
#include "train/probes/linear_probe.h"
#include "train/probes/neighbours.h"
#include "train/probes/ridge.h"
#include "train/probes/sgd.h"

namespace tessera {
namespace {

struct Examples {
  Tensor x;  // (N, D)
  std::vector<int64_t> labels;
};

// Clouds round one middle a class, `spread` wide, far from the origin and badly scaled.
Examples clouds(int64_t n, int64_t dim, int64_t classes, double spread, uint32_t draw) {
  const std::vector<float> middles =
      raw::normal({classes, dim}, {1, 0, 3000}, 0, 1).to_vector<float>();
  std::vector<float> noise = raw::normal({n, dim}, {2, draw, 3000}, 0, spread).to_vector<float>();
  Examples made;
  for (int64_t i = 0; i < n; ++i) {
    made.labels.push_back(i * classes / n);  // sorted by class, as folders are
    for (int64_t d = 0; d < dim; ++d) {
      float& value = noise[static_cast<size_t>(i * dim + d)];
      value += middles[static_cast<size_t>(made.labels.back() * dim + d)];
      value = 5 + value * static_cast<float>(d + 1);
    }
  }
  made.x = Tensor::from(noise, {n, dim});
  return made;
}

double top1(const Tensor& scores, const std::vector<int64_t>& labels) {
  return classify(scores, labels).top1;
}

// a w = b by elimination with pivots; a (n, n), b (n, m), row-major.
std::vector<double> eliminate(std::vector<double> a, std::vector<double> b, size_t n, size_t m) {
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t i = column; i < n; ++i) {
      if (std::abs(a[i * n + column]) > std::abs(a[pivot * n + column])) pivot = i;
    }
    for (size_t j = 0; j < n; ++j) std::swap(a[column * n + j], a[pivot * n + j]);
    for (size_t j = 0; j < m; ++j) std::swap(b[column * m + j], b[pivot * m + j]);
    for (size_t i = 0; i < n; ++i) {
      if (i == column) continue;
      const double factor = a[i * n + column] / a[column * n + column];
      for (size_t j = 0; j < n; ++j) a[i * n + j] -= factor * a[column * n + j];
      for (size_t j = 0; j < m; ++j) b[i * m + j] -= factor * b[column * m + j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < m; ++j) b[i * m + j] /= a[i * n + i];
  }
  return b;
}

}  // namespace

TEST_CASE("neighbours vote as the paper says") {
  const int64_t n = 300, m = 270, dim = 5, classes = 4;  // more queries than one portion
  const Examples known = clouds(n, dim, classes, 1.5, 0), asked = clouds(m, dim, classes, 1.5, 1);
  const NeighbourOptions options{.k = 7, .temperature = 0.2};
  const std::vector<float> have =
      nearest_neighbours(known.x, known.labels, classes, asked.x, options).to_vector<float>();
  const std::vector<float> a = known.x.to_vector<float>(), b = asked.x.to_vector<float>();
  const auto cosine = [&](int64_t i, int64_t j) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t d = 0; d < dim; ++d) {
      const double p = a[i * dim + d], q = b[j * dim + d];
      ab += p * q, aa += p * p, bb += q * q;
    }
    return ab / std::sqrt(aa * bb);
  };
  for (int64_t j = 0; j < m; ++j) {
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t p, int64_t q) { return cosine(p, j) > cosine(q, j); });
    std::vector<double> votes(classes, 0.0);
    double total = 0;
    for (int64_t i = 0; i < options.k; ++i) {
      const double weight = std::exp(cosine(order[i], j) / options.temperature);
      votes[known.labels[order[i]]] += weight;
      total += weight;
    }
    for (int64_t c = 0; c < classes; ++c) {
      CHECK(have[j * classes + c] == Approx(votes[c] / total).margin(1e-5));
    }
  }
}

TEST_CASE("neighbours: far smaller temperatures, zeros, too many of them") {
  const Tensor known = Tensor::from(std::vector<float>{1, 0, 0, 1, 0, 0}, {3, 2});
  const std::vector<int64_t> labels = {0, 1, 2};
  const Tensor asked = Tensor::from(std::vector<float>{3, 1, 0, 0}, {2, 2});
  const auto votes =
      nearest_neighbours(known, labels, 3, asked, {.k = 3, .temperature = 1e-4}).to_vector<float>();
  CHECK(votes[0] == 1);                // exp(0.95 / 1e-4) would be infinite
  CHECK(votes[3] == Approx(1.0 / 3));  // a picture of zeros is as near to one as to the other
  CHECK_THROWS_WITH(nearest_neighbours(known, labels, 3, asked, {.k = 4}),
                    Catch::Contains("--knn-k 4") && Catch::Contains("3 pictures"));
  CHECK_THROWS_WITH(nearest_neighbours(known, labels, 3, asked, {.k = 1, .temperature = 0}),
                    Catch::Contains("--knn-temperature"));
}

TEST_CASE("conjugate gradients agree with elimination") {
  const size_t n = 12, m = 3;
  const Tensor x = raw::normal({40, int64_t(n)}, {3, 0, 3000}, 0, 1, DType::kF64);
  const Tensor gram = matmul(transpose(x, 0, 1), x);
  Tensor target = raw::normal({int64_t(n), int64_t(m)}, {4, 0, 3000}, 0, 1, DType::kF64);
  for (int64_t i = 0; i < int64_t(n); ++i) target.data<double>()[i * int64_t(m)] = 0;  // a column
  for (const double lambda : {10.0, 0.1, 0.0}) {
    std::vector<double> a = gram.to_vector<double>();
    for (size_t i = 0; i < n; ++i) a[i * n + i] += lambda;
    const std::vector<double> want = eliminate(a, target.to_vector<double>(), n, m);
    const RidgeSolution solution = solve_ridge(gram, lambda, target);
    CHECK(solution.residual <= kRidgeResidual);
    const std::vector<double> have = solution.weights.to_vector<double>();
    for (size_t i = 0; i < want.size(); ++i) CHECK(have[i] == Approx(want[i]).margin(1e-7));
    // Begun at the solution, it stays there.
    const Tensor again =
        solve_ridge(gram, lambda, target, Tensor::from(want, {int64_t(n), int64_t(m)})).weights;
    CHECK(again.to_vector<double>() == want);
  }
  // Hilbert's matrix is too near to a singular one for f64: the residual says that it stopped.
  Tensor hilbert = Tensor::zeros({int64_t(n), int64_t(n)}, DType::kF64);
  for (size_t i = 0; i < n * n; ++i) hilbert.data<double>()[i] = 1.0 / double(i / n + i % n + 1);
  CHECK(solve_ridge(hilbert, 0, target).residual > kRidgeResidual);
  CHECK(solve_ridge(hilbert, 1e-6, target).residual <= kRidgeResidual);
}

TEST_CASE("a ridge probe is least squares on standardised features, its strength chosen") {
  const int64_t n = 95, dim = 6, classes = 3;
  const Examples known = clouds(n, dim, classes, 1.2, 0), asked = clouds(40, dim, classes, 1.2, 1);
  const RidgeProbe probe = ridge_probe(known.x, known.labels, classes, asked.x);
  CHECK(probe.lambda > 0);
  CHECK(probe.checked_top1 > 0.6);
  CHECK(probe.residual <= kRidgeResidual);

  // The same by elimination, with the strength it chose.
  const std::vector<float> x = known.x.to_vector<float>(), q = asked.x.to_vector<float>();
  std::vector<double> middle(dim, 0.0), deviation(dim, 0.0), shares(classes, 0.0);
  for (int64_t i = 0; i < n; ++i) {
    shares[known.labels[i]] += 1.0 / n;
    for (int64_t d = 0; d < dim; ++d) middle[d] += double(x[i * dim + d]) / n;
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t d = 0; d < dim; ++d) deviation[d] += std::pow(x[i * dim + d] - middle[d], 2) / n;
  }
  for (double& d : deviation) d = std::sqrt(d);
  std::vector<double> gram(dim * dim, 0.0), target(dim * classes, 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t d = 0; d < dim; ++d) {
      const double v = (x[i * dim + d] - middle[d]) / deviation[d];
      for (int64_t e = 0; e < dim; ++e) {
        gram[d * dim + e] += v * (x[i * dim + e] - middle[e]) / deviation[e] / n;
      }
      for (int64_t c = 0; c < classes; ++c) {
        target[d * classes + c] += v * ((known.labels[i] == c) - shares[c]) / n;
      }
    }
  }
  for (int64_t d = 0; d < dim; ++d) gram[d * dim + d] += probe.lambda;
  const std::vector<double> weights = eliminate(gram, target, dim, classes);
  const std::vector<float> have = probe.scores.to_vector<float>();
  for (int64_t i = 0; i < asked.x.size(0); ++i) {
    for (int64_t c = 0; c < classes; ++c) {
      double want = shares[c];
      for (int64_t d = 0; d < dim; ++d) {
        want += (q[i * dim + d] - middle[d]) / deviation[d] * weights[d * classes + c];
      }
      CHECK(have[i * classes + c] == Approx(want).margin(1e-5));
    }
  }
  CHECK(top1(probe.scores, asked.labels) > 0.6);
}

TEST_CASE("a ridge probe of noise prefers a strong hand, and dead features do no harm") {
  const int64_t n = 60, dim = 40;  // nearly as many features as pictures: weak hands learn noise
  Tensor x = raw::normal({n, dim}, {5, 0, 3000}, 0, 1);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < n; ++i) {
    labels.push_back(i % 2);
    x.data<float>()[i * dim] = static_cast<float>(labels.back()) * 3;  // the one that says all
    x.data<float>()[i * dim + 1] = 4;                                  // never moves
  }
  const RidgeProbe probe = ridge_probe(x, labels, 2, x);
  CHECK(probe.lambda >= 1e-2);
  CHECK(probe.checked_top1 == 1);
  CHECK_FALSE(raw::first_nonfinite(probe.scores));
  CHECK_THROWS_WITH(ridge_probe(raw::slice(x, 0, 0, 9), std::span(labels).first(9), 2, x),
                    Catch::Contains("at least 10"));
}

TEST_CASE("SGD and LARS make the steps of their formulas") {
  for (const bool lars : {false, true}) {
    Linear layer(3, 2);
    layer.visit([](const std::string&, Tensor& t, StateKind) {
      raw::copy_(t, raw::normal(t.shape(), {6, static_cast<uint32_t>(t.ndim()), 3000}, 0, 1));
    });
    std::vector<float> w = layer.weight().to_vector<float>();
    std::vector<float> b = layer.named_parameters()[1].tensor.to_vector<float>();
    std::vector<double> mw(6, 0.0), mb(2, 0.0);
    Sgd optimizer(layer, {.momentum = 0.8, .weight_decay = 0.1, .lars = lars, .trust = 0.01});
    for (int step = 0; step < 3; ++step) {
      const Tensor x = raw::normal({4, 3}, {7, static_cast<uint32_t>(step), 3000}, 0, 1);
      optimizer.zero_grad();
      backward(sum(layer(x)));  // dL/db = 4, dL/dw = the sum of x
      const double lr = 0.5 / (step + 1);
      optimizer.step(lr);
      const std::vector<float> values = x.to_vector<float>();
      double length = 0, update = 0;
      std::vector<double> g(6, 0.0);
      for (int i = 0; i < 6; ++i) {
        for (int row = 0; row < 4; ++row) g[i] += values[row * 3 + i % 3];
        g[i] += 0.1 * w[i];
        length += double(w[i]) * w[i];
        update += g[i] * g[i];
      }
      const double trust = lars ? 0.01 * std::sqrt(length / update) : 1;
      for (int i = 0; i < 6; ++i) {
        mw[i] = 0.8 * mw[i] + trust * g[i];
        w[i] = static_cast<float>(w[i] - lr * mw[i]);
      }
      for (int i = 0; i < 2; ++i) {
        mb[i] = 0.8 * mb[i] + 4;
        b[i] = static_cast<float>(b[i] - lr * mb[i]);
      }
    }
    const auto have_w = layer.weight().to_vector<float>();
    const auto have_b = layer.named_parameters()[1].tensor.to_vector<float>();
    for (int i = 0; i < 6; ++i) CHECK(have_w[i] == Approx(w[i]).epsilon(1e-5));
    for (int i = 0; i < 2; ++i) CHECK(have_b[i] == Approx(b[i]).epsilon(1e-5));
  }
}

TEST_CASE("a linear probe learns what is there, the same for any number of threads") {
  const Examples known = clouds(400, 8, 4, 0.8, 0), asked = clouds(200, 8, 4, 0.8, 1);
  for (const bool lars : {false, true}) {
    LinearProbeOptions options;
    options.epochs = 30;
    options.batch_size = 64;
    options.lars = lars;
    const LinearProbe probe = linear_probe(known.x, known.labels, 4, asked.x, options);
    CHECK(top1(probe.scores, asked.labels) > 0.9);
    CHECK(probe.train_top1 > 0.9);
    const int threads = num_threads();
    set_num_threads(threads == 1 ? 2 : 1);
    const LinearProbe again = linear_probe(known.x, known.labels, 4, asked.x, options);
    set_num_threads(threads);
    CHECK(again.scores.to_vector<float>() == probe.scores.to_vector<float>());
    options.seed = 1;
    CHECK(linear_probe(known.x, known.labels, 4, asked.x, options).scores.to_vector<float>() !=
          probe.scores.to_vector<float>());
  }
}

TEST_CASE("a linear probe's mistakes are named") {
  const Examples known = clouds(20, 2, 2, 1, 0);
  const auto error = [&](auto change) {
    LinearProbeOptions options;
    change(options);
    return error_of([&] { linear_probe(known.x, known.labels, 2, known.x, options); });
  };
  CHECK_THAT(error([](auto& o) { o.epochs = 0; }), Catch::Contains("--epochs 0"));
  CHECK_THAT(error([](auto& o) { o.batch_size = 1; }), Catch::Contains("--batch-size 1"));
  CHECK_THAT(error([](auto& o) { o.lr = 0; }), Catch::Contains("--lr 0"));
  CHECK_THAT(error([](auto& o) { o.warmup_epochs = 91; }), Catch::Contains("--warmup-epochs 91"));
  CHECK_THAT(error([](auto& o) { o.weight_decay = -1; }), Catch::Contains("--weight-decay"));
}

}  // namespace tessera
