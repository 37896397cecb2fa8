// Interpolation by a cubic spline whose third derivative is continuous at the second and the last
// but one point (not-a-knot): what FITPACK, and with it scipy's interp2d, interpolates with.
#pragma once

#include <span>
#include <vector>

namespace tessera {

// The weights (at.size(), x.size()), row by row, with which values at the points x give the
// spline's values at the points `at`; outside [x.front(), x.back()] the nearest end's. x ascending,
// at least four points.
std::vector<double> cubic_spline_weights(std::span<const double> x, std::span<const double> at);

}  // namespace tessera
