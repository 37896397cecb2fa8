// The worst of many errors. Rule: a NaN is worse than any number, and stays.
#pragma once

#include <cmath>

namespace tessera::ops_test {

inline bool is_worse(double error, double worst) { return !std::isnan(worst) && !(error <= worst); }

}  // namespace tessera::ops_test
