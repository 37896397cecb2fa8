// Second derivatives at the points by elimination, for all unit values at once.
#include "models/cubic_spline.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace tessera {
namespace {

using Rows = std::vector<std::vector<double>>;

// a (n, n) m = b (n, k): Gauss with row exchanges; m takes b's place.
void solve(Rows& a, Rows& b) {
  const size_t n = a.size();
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t row = column + 1; row < n; ++row) {
      if (std::abs(a[row][column]) > std::abs(a[pivot][column])) pivot = row;
    }
    std::swap(a[column], a[pivot]);
    std::swap(b[column], b[pivot]);
    for (size_t row = 0; row < n; ++row) {
      const double factor = a[row][column] / a[column][column];
      if (row == column || factor == 0) continue;
      for (size_t i = column; i < n; ++i) a[row][i] -= factor * a[column][i];
      for (size_t i = 0; i < b[row].size(); ++i) b[row][i] -= factor * b[column][i];
    }
  }
  for (size_t row = 0; row < n; ++row) {
    for (double& v : b[row]) v /= a[row][row];
  }
}

// The spline's second derivative at each point, as weights of the values at all points.
Rows second_derivatives(std::span<const double> x) {
  const size_t n = x.size();
  Rows a(n, std::vector<double>(n, 0.0)), b(n, std::vector<double>(n, 0.0));
  const auto gap = [&](size_t i) { return x[i + 1] - x[i]; };
  for (size_t i = 1; i + 1 < n; ++i) {  // the first derivative is continuous
    a[i][i - 1] = gap(i - 1);
    a[i][i] = 2 * (gap(i - 1) + gap(i));
    a[i][i + 1] = gap(i);
    b[i][i - 1] = 6 / gap(i - 1);
    b[i][i] = -6 / gap(i - 1) - 6 / gap(i);
    b[i][i + 1] = 6 / gap(i);
  }
  for (const size_t i : {size_t{0}, n - 1}) {  // the third is, at points 1 and n - 2
    const size_t middle = i == 0 ? 1 : n - 2;
    a[i][middle - 1] = gap(middle);
    a[i][middle] = -gap(middle - 1) - gap(middle);
    a[i][middle + 1] = gap(middle - 1);
  }
  solve(a, b);
  return b;
}

}  // namespace

std::vector<double> cubic_spline_weights(std::span<const double> x, std::span<const double> at) {
  const size_t n = x.size();
  TESSERA_CHECK(n >= 4 && std::is_sorted(x.begin(), x.end()),
                "[cubic_spline] {} points, wanted at least 4 in ascending order", n);
  const Rows curvature = second_derivatives(x);
  std::vector<double> weights;
  for (const double wanted : at) {
    const double t = std::clamp(wanted, x.front(), x.back());
    const auto above = std::upper_bound(x.begin() + 1, x.end() - 1, t);
    const size_t i = static_cast<size_t>(above - x.begin()) - 1;  // x[i] <= t <= x[i + 1]
    const double h = x[i + 1] - x[i], right = (x[i + 1] - t) / h, left = (t - x[i]) / h;
    const double bend_right = (right * right * right - right) * h * h / 6;
    const double bend_left = (left * left * left - left) * h * h / 6;
    for (size_t j = 0; j < n; ++j) {
      const double value = (j == i ? right : 0) + (j == i + 1 ? left : 0);
      weights.push_back(value + curvature[i][j] * bend_right + curvature[i + 1][j] * bend_left);
    }
  }
  return weights;
}

}  // namespace tessera
