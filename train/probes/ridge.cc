// The normal equations, and conjugate gradients (Hestenes and Stiefel, 1952) on them.
#include "train/probes/ridge.h"

#include <algorithm>
#include <cmath>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/error.h"
#include "engine/raw.h"
#include "train/probes/classification.h"

namespace tessera {
namespace {

constexpr int64_t kKeptBack = 5;           // every fifth example chooses the strength
constexpr double kLeastDeviation = 1e-12;  // a feature that never moves stays 0
constexpr size_t kPart = 4096;             // rows in f64 at a time

// Products of columns: (D, C), (D, C) -> (1, C).
Tensor dots(const Tensor& a, const Tensor& b) { return sum(a * b, {0}, true); }

double largest(const Tensor& x) { return amax(x).item(); }

// Rows of x (N, D) f32 by their numbers, widened.
Tensor rows_of(const Tensor& x, std::span<const int64_t> rows) {
  return to(index_select(x, 0, Tensor::from(rows, {std::ssize(rows)})), DType::kF64);
}

// What examples say: the figures that queries are measured by, and the normal equations, divided by
// the number of examples. Some rows at a time, so that little of the table is widened at once.
struct Equations {
  Tensor mean, deviation;  // (1, D)
  Tensor shares;           // (1, C): of the examples, those of each class
  Tensor gram, target;     // (D, D), (D, C)

  Equations(const Tensor& examples, std::span<const int64_t> rows, std::span<const int64_t> labels,
            int64_t classes) {
    const int64_t dim = examples.size(1);
    const double n = double(rows.size());
    shares = Tensor::zeros({1, classes}, DType::kF64);
    for (const int64_t row : rows) shares.data<double>()[labels[static_cast<size_t>(row)]] += 1 / n;
    mean = Tensor::zeros({1, dim}, DType::kF64);
    for_each_part(rows, [&](std::span<const int64_t> part) {
      mean = mean + sum(rows_of(examples, part), {0}, true) / n;
    });
    gram = Tensor::zeros({dim, dim}, DType::kF64);
    target = Tensor::zeros({dim, classes}, DType::kF64);
    Tensor variance = Tensor::zeros({1, dim}, DType::kF64);
    for_each_part(rows, [&](std::span<const int64_t> part) {
      const Tensor x = rows_of(examples, part) - mean;  // (R, D)
      Tensor answers = Tensor::zeros({std::ssize(part), classes}, DType::kF64);
      for (size_t i = 0; i < part.size(); ++i) {
        const int64_t label = labels[static_cast<size_t>(part[i])];
        answers.data<double>()[static_cast<int64_t>(i) * classes + label] = 1;
      }
      gram = gram + matmul(transpose(x, 0, 1), x) / n;
      target = target + matmul(transpose(x, 0, 1), answers - shares) / n;
      variance = variance + sum(x * x, {0}, true) / n;
    });
    deviation = clamp(sqrt(variance), kLeastDeviation, 1e300);
    const Tensor down = transpose(deviation, 0, 1);  // (D, 1)
    gram = gram / deviation / down;
    target = target / down;
  }

  // weights (D, C) on some rows of queries (M, D) -> (R, C) f32.
  Tensor scores(const Tensor& queries, std::span<const int64_t> rows, const Tensor& weights) const {
    std::vector<Tensor> parts;
    for_each_part(rows, [&](std::span<const int64_t> part) {
      const Tensor x = (rows_of(queries, part) - mean) / deviation;
      parts.push_back(to(matmul(x, weights) + shares, DType::kF32));
    });
    return cat(parts, 0);
  }

 private:
  template <class Work>
  static void for_each_part(std::span<const int64_t> rows, const Work& work) {
    for (size_t first = 0; first < rows.size(); first += kPart) {
      work(rows.subspan(first, std::min(kPart, rows.size() - first)));
    }
  }
};

}  // namespace

RidgeSolution solve_ridge(const Tensor& gram, double lambda, const Tensor& target,
                          const Tensor& start) {
  const NoGrad no_grad;
  const Tensor scale = dots(target, target) + 1e-300;  // (1, C); no column of zeros divides by 0
  Tensor w = start.defined() ? start : Tensor::zeros(target.shape(), DType::kF64);
  Tensor residual = target - matmul(gram, w) - w * lambda;
  Tensor direction = residual, squares = dots(residual, residual);
  const auto left = [&] { return std::sqrt(largest(squares / scale)); };
  // In exact arithmetic D rounds suffice; with rounding a few times as many.
  const int64_t most = 20 * gram.size(0);
  for (int64_t round = 0; round < most && left() > kRidgeResidual; ++round) {
    const Tensor moved = matmul(gram, direction) + direction * lambda;
    // A column that has arrived has a direction of zero: 0 / tiny moves nothing.
    const Tensor step = squares / (dots(direction, moved) + 1e-300);
    w = w + direction * step;
    residual = residual - moved * step;
    const Tensor next = dots(residual, residual);
    direction = residual + direction * (next / (squares + 1e-300));
    squares = next;
  }
  return {w, left()};
}

RidgeProbe ridge_probe(const Tensor& examples, std::span<const int64_t> labels, int64_t classes,
                       const Tensor& queries) {
  const int64_t n = examples.size(0);
  TESSERA_CHECK(std::ssize(labels) == n && examples.size(1) == queries.size(1),
                "[ridge_probe] examples {} with {} labels, queries {}", describe(examples),
                labels.size(), describe(queries));
  TESSERA_CHECK_USAGE(n >= 2 * kKeptBack,
                      "a ridge probe wants at least {} pictures with labels, "
                      "not {}",
                      2 * kKeptBack, n);
  const NoGrad no_grad;
  std::vector<int64_t> all, solved, kept, kept_labels, asked;
  for (int64_t i = 0; i < n; ++i) {
    const bool is_kept = i % kKeptBack == kKeptBack - 1;
    all.push_back(i);
    (is_kept ? kept : solved).push_back(i);
    if (is_kept) kept_labels.push_back(labels[static_cast<size_t>(i)]);
  }
  for (int64_t i = 0; i < queries.size(0); ++i) asked.push_back(i);

  RidgeProbe probe;
  probe.checked_top1 = -1;
  const Equations part(examples, solved, labels, classes);
  Tensor weights;
  for (const double lambda : kRidgeStrengths) {  // the last solution is near the next one
    weights = solve_ridge(part.gram, lambda, part.target, weights).weights;
    const double top1 = classify(part.scores(examples, kept, weights), kept_labels).top1;
    if (top1 <= probe.checked_top1) continue;
    probe.checked_top1 = top1;
    probe.lambda = lambda;
  }
  const Equations whole(examples, all, labels, classes);
  const RidgeSolution last = solve_ridge(whole.gram, probe.lambda, whole.target);
  probe.residual = last.residual;
  probe.scores = whole.scores(queries, asked, last.weights);
  return probe;
}

}  // namespace tessera
