// The modes: run a case, compare.
#include "tests/ops/check.h"

#include <cmath>
#include <span>
#include <utility>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "tests/ops/compare.h"
#include "tests/ops/guard_backend.h"

namespace tessera::ops_test {
namespace {

constexpr double kStep = 1e-6;        // of the central differences
constexpr double kDifference = 1e-6;  // relative bound on the gradient
constexpr double kNoise =
    1e-8;  // absolute: cancellation in the difference, 1e-16 / kStep, and room
constexpr DType kFloats[] = {DType::kF64, DType::kF32, DType::kF16, DType::kBF16};

// What a case gives on placed inputs.
class Trial {
 public:
  Trial(const Case& c, const Arrays& inputs, DType dtype, Layout layout, Device device)
      : Trial(c, inputs, dtype, dtype, layout, device) {}
  // The first floating input of another dtype than the rest.
  Trial(const Case& c, const Arrays& inputs, DType first, DType rest, Layout layout, Device device)
      : case_(c) {
    DType floating = first;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const Fill fill = c.inputs[k].fill;
      const DType type = fill == Fill::kIndex  ? DType::kI64
                         : fill == Fill::kBool ? DType::kBool
                                               : std::exchange(floating, rest);
      placed_.emplace_back(inputs[k], type, layout, device);
      tensors_.push_back(placed_.back().tensor());
      if (c.inputs[k].differentiable) set_requires_grad(tensors_.back());
    }
  }

  Tensor forward() { return case_.call(tensors_); }
  // Gradients of the differentiable inputs; forgets them.
  Arrays gradients(const Tensor& y, const Tensor& dy) {
    backward(y, dy);
    Arrays found;
    for (size_t k = 0; k < tensors_.size(); ++k) {
      if (!case_.inputs[k].differentiable) continue;
      const Tensor dx = grad(tensors_[k]);
      TESSERA_CHECK(dx.defined(), "input {} got no gradient", k);
      TESSERA_CHECK(dx.dtype() == tensors_[k].dtype(), "input {}'s gradient is {}", k,
                    describe(dx));
      found.push_back(read(dx));
      zero_grad(tensors_[k]);
    }
    return found;
  }
  std::string damage() const {
    for (size_t k = 0; k < placed_.size(); ++k) {
      if (!placed_[k].untouched()) return fmt::format("input {} or its margin was written to", k);
    }
    return "";
  }

 private:
  const Case& case_;
  std::vector<Placed> placed_;
  Tensors tensors_;
};

bool has_gradient(const Case& c) {
  for (const Input& input : c.inputs) {
    if (input.differentiable) return true;
  }
  return false;
}

bool has_floats(const Case& c) {
  for (const Input& input : c.inputs) {
    if (input.floating()) return true;
  }
  return false;
}

Arrays rounded_inputs(const Case& c, Arrays inputs, DType dtype) {
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (c.inputs[k].floating()) inputs[k] = rounded(inputs[k], dtype);
  }
  return inputs;
}

// Runs body and turns an exception into a fault; `where` says which setting it was.
template <class Body>
void attempt(Faults* faults, const Case& c, const std::string& where, Body body) {
  std::string fault;
  try {
    fault = body();
  } catch (const std::exception& e) {
    fault = std::string("threw ") + e.what();
  }
  if (!fault.empty()) faults->push_back(c.label + ", " + where + ": " + fault);
}

std::string name(Layout layout, DType dtype) {
  return fmt::format("{} {}", name_of(layout), tessera::name_of(dtype));
}

// d reference[o] / d input[k][i] as [k](outputs, elements of k).
std::vector<std::vector<std::vector<double>>> jacobian(const Case& c, const Arrays& inputs) {
  std::vector<std::vector<std::vector<double>>> all;
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (!c.inputs[k].differentiable) continue;
    std::vector<std::vector<double>> columns;
    Arrays moved = inputs;
    for (double& x : moved[k].values) {
      const double at = x;
      x = at + kStep;
      const double right = x;
      const Array above = c.reference(moved);
      x = at - kStep;
      const double width = right - x;
      const Array below = c.reference(moved);
      x = at;
      std::vector<double> column(above.values.size());
      for (size_t o = 0; o < column.size(); ++o) {
        column[o] = (above.values[o] - below.values[o]) / width;
      }
      columns.push_back(std::move(column));
    }
    all.push_back(std::move(columns));
  }
  return all;
}

std::string check_jacobian(const Case& c, const Arrays& inputs, Layout layout, Device device) {
  const auto expected = jacobian(c, inputs);
  const Array y = c.reference(inputs);
  const double noise = kNoise * largest(y);
  Trial trial(c, inputs, DType::kF64, layout, device);
  // One element at a time, then all at once: the second also covers empty results.
  for (int64_t o = 0; o <= y.size(); ++o) {
    Array dy(y.shape);
    if (o < y.size()) {
      dy.values[static_cast<size_t>(o)] = 1;
    } else {
      dy = make_upstream(y.shape, 1);
    }
    const Placed placed(dy, c.result_of(DType::kF64),
                        layout == Layout::kExpanded ? Layout::kContiguous : layout, device);
    const Arrays found = trial.gradients(trial.forward(), placed.tensor());
    for (size_t k = 0; k < found.size(); ++k) {
      for (size_t i = 0; i < found[k].values.size(); ++i) {
        double want = 0, size = 0;
        for (size_t p = 0; p < dy.values.size(); ++p) {
          want += dy.values[p] * expected[k][i][p];
          size += std::fabs(dy.values[p] * expected[k][i][p]);
        }
        if (!(std::fabs(found[k].values[i] - want) <= kDifference * size + noise)) {
          return fmt::format("gradient {} element {} of output {} is {} for {}", k, i, o,
                             found[k].values[i], want);
        }
      }
    }
  }
  return trial.damage();
}

// Result and gradients for one random upstream gradient.
struct Outcome {
  Array y;
  Arrays gradients;
};

Outcome outcome_of(const Case& c, const Arrays& inputs, DType dtype, Layout layout, Device device) {
  Trial trial(c, inputs, dtype, layout, device);
  const Tensor y = trial.forward();
  Outcome out{read(y), {}};
  if (has_gradient(c)) {
    const Array dy = rounded(make_upstream(y.shape(), 2), dtype);
    const Placed placed(dy, y.dtype(), layout == Layout::kExpanded ? Layout::kContiguous : layout,
                        device);
    out.gradients = trial.gradients(y, placed.tensor());
  }
  const std::string damage = trial.damage();
  TESSERA_CHECK(damage.empty(), "{}", damage);
  return out;
}

std::string compare_outcomes(const Outcome& have, const Outcome& want, DType dtype, int roundings) {
  const auto compare = [&](const Array& h, const Array& w, int r) {
    const double scale = largest(w);
    return first_difference(h, w, [&](double v) { return bound(dtype, r, v, scale); });
  };
  if (const std::string d = compare(have.y, want.y, roundings); !d.empty()) return "result: " + d;
  for (size_t k = 0; k < want.gradients.size(); ++k) {
    // A backward pass rounds what it saved, what it gets and what it gives.
    const std::string d = compare(have.gradients[k], want.gradients[k], roundings + 3);
    if (!d.empty()) return fmt::format("gradient {}: {}", k, d);
  }
  return "";
}

std::string differing_bits(const Outcome& a, const Outcome& b) {
  if (!same_bits(a.y, b.y)) return "the result has other bits";
  for (size_t k = 0; k < b.gradients.size(); ++k) {
    if (!same_bits(a.gradients[k], b.gradients[k]))
      return fmt::format("gradient {} has other bits", k);
  }
  return "";
}

// The number of threads, for as long as it lives.
class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace

Faults check_values(const Case& c, Device device) {
  Faults faults;
  for (const Layout layout : kLayouts) {
    for (const DType dtype : kFloats) {
      const bool half = dtype == DType::kF16 || dtype == DType::kBF16;
      if (half && c.roundings == 0) continue;
      if (layout == Layout::kExpanded && !c.expandable && has_gradient(c)) continue;
      attempt(&faults, c, name(layout, dtype), [&]() -> std::string {
        const Arrays inputs = rounded_inputs(c, make_inputs(c, layout), dtype);
        const NoGrad no_grad;
        Trial trial(c, inputs, dtype, layout, device);
        const Tensor y = trial.forward();
        const DType expected = c.result_of(dtype);
        if (y.dtype() != expected) return fmt::format("the result is {}", describe(y));
        const Array want = c.reference(inputs);
        const double scale = largest(want);
        const bool exact = !is_floating(expected);
        const DType format = c.widens || !half ? expected : dtype;
        const std::string d = first_difference(read(y), want, [&](double w) {
          return exact ? 0 : bound(format, c.roundings, w, scale);
        });
        return d.empty() ? trial.damage() : d;
      });
    }
  }
  return faults;
}

Faults check_gradients(const Case& c, Device device) {
  Faults faults;
  if (!has_gradient(c)) return faults;
  for (const Layout layout : kLayouts) {
    if (layout == Layout::kExpanded && !c.expandable) continue;
    attempt(&faults, c, name(layout, DType::kF64),
            [&] { return check_jacobian(c, make_inputs(c, layout), layout, device); });
  }
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (dtype != DType::kF32 && c.roundings == 0) continue;
    attempt(&faults, c, name(Layout::kContiguous, dtype), [&] {
      const Arrays inputs = rounded_inputs(c, make_inputs(c, Layout::kContiguous), dtype);
      const Outcome have = outcome_of(c, inputs, dtype, Layout::kContiguous, device);
      // The same upstream gradient, rounded alike, in f64.
      Outcome want{c.reference(inputs), {}};
      Trial trial(c, inputs, DType::kF64, Layout::kContiguous, device);
      const Tensor y = trial.forward();
      const Array dy = rounded(make_upstream(y.shape(), 2), dtype);
      want.gradients =
          trial.gradients(y, Placed(dy, y.dtype(), Layout::kContiguous, device).tensor());
      return compare_outcomes(have, want, dtype, c.roundings);
    });
  }
  return faults;
}

Faults check_autocast(const Case& c, Device device) {
  Faults faults;
  if (c.roundings == 0) return faults;
  const auto check = [&](DType first, DType low) {
    const std::string where =
        fmt::format("autocast {}, first input {}", tessera::name_of(low), tessera::name_of(first));
    attempt(&faults, c, where, [&]() -> std::string {
      // Inputs that the cast leaves as they are, so that only what the op rounds is measured.
      const Arrays inputs = rounded_inputs(c, make_inputs(c, Layout::kContiguous), low);
      const Autocast autocast(low);
      Trial trial(c, inputs, first, DType::kF32, Layout::kContiguous, device);
      const Tensor y = trial.forward();
      const bool asked_for = c.result.has_value() && y.dtype() == *c.result;
      if (is_floating(y.dtype()) && y.dtype() != DType::kF32 && y.dtype() != low && !asked_for) {
        return fmt::format("the result is {}", describe(y));
      }
      Outcome have{read(y), {}}, want{c.reference(inputs), {}};
      if (has_gradient(c)) {
        const Array dy = rounded(make_upstream(y.shape(), 2), low);
        have.gradients =
            trial.gradients(y, Placed(dy, y.dtype(), Layout::kContiguous, device).tensor());
        Trial exact(c, inputs, DType::kF64, Layout::kContiguous, device);
        const Tensor y64 = exact.forward();
        want.gradients =
            exact.gradients(y64, Placed(dy, y64.dtype(), Layout::kContiguous, device).tensor());
      }
      return compare_outcomes(have, want, low, c.roundings);
    });
  };
  for (const DType low : {DType::kF16, DType::kBF16}) {
    check(DType::kF32, low);
    check(low, low);  // as a product before it gave it
  }
  return faults;
}

namespace {

// Whether the device's products do, and there was one since `before` were counted.
bool products_depend_on_strides(Device device, int64_t before) {
  return backend(device).products_depend_on_strides() && guarded_products() > before;
}

// The same bits as laid out plainly on one thread, for each layout and number of threads. Where a
// device's products depend on strides, cases with products are held to what remains: the same bits
// for the same layout.
Faults check_bits(const Case& c, Device device, DType dtype, std::span<const Layout> layouts,
                  std::vector<int> threads) {
  if (device != Device::kCpu) threads = {1};
  Faults faults;
  Arrays inputs;
  std::optional<Outcome> plain;
  const int64_t before = guarded_products();
  for (const Layout layout : layouts) {
    attempt(&faults, c, name(layout, dtype), [&]() -> std::string {
      if (layout == Layout::kExpanded || !plain.has_value()) {  // expanding changes the values
        inputs = rounded_inputs(c, make_inputs(c, layout), dtype);
        const Threads one(1);
        plain = outcome_of(c, inputs, dtype, Layout::kContiguous, device);
      }
      std::string found;
      for (const int n : threads) {
        const Threads several(n);
        const Outcome now = outcome_of(c, inputs, dtype, layout, device);
        const bool alone = products_depend_on_strides(device, before);
        const Outcome again = alone ? outcome_of(c, inputs, dtype, layout, device) : Outcome{};
        if (std::string d = differing_bits(now, alone ? again : *plain);
            !d.empty() && found.empty()) {
          found = fmt::format("{} threads: {}", n, d);
        }
      }
      if (layout == Layout::kExpanded) plain.reset();
      return found;
    });
  }
  return faults;
}

}  // namespace

Faults check_bits(const Case& c, Device device) {
  Faults faults = check_bits(c, device, DType::kF32, kLayouts, {1, 2, 3});
  for (const DType dtype : {DType::kF64, DType::kBF16}) {
    if (dtype == DType::kBF16 && c.roundings == 0) continue;
    const Faults more = check_bits(c, device, dtype, kLayouts, {2});
    faults.insert(faults.end(), more.begin(), more.end());
  }
  return faults;
}

Faults check_large_bits(const Case& c, Device device) {
  constexpr Layout kLargeLayouts[] = {Layout::kContiguous, Layout::kTransposed, Layout::kOffset};
  return check_bits(c, device, DType::kF32, kLargeLayouts, {1, 2});
}

Faults check_against_f64(const Case& c, Device device) {
  Faults faults;
  attempt(&faults, c, "f32 against f64", [&] {
    const Arrays inputs = rounded_inputs(c, make_inputs(c, Layout::kContiguous), DType::kF32);
    const Outcome have = outcome_of(c, inputs, DType::kF32, Layout::kContiguous, device);
    Trial trial(c, inputs, DType::kF64, Layout::kContiguous, device);
    const Tensor y = trial.forward();
    Outcome want{read(y), {}};
    if (has_gradient(c)) {
      const Array dy = rounded(make_upstream(y.shape(), 2), DType::kF32);
      want.gradients =
          trial.gradients(y, Placed(dy, y.dtype(), Layout::kContiguous, device).tensor());
    }
    return compare_outcomes(have, want, DType::kF32, 1);
  });
  return faults;
}

Faults check_guards(const Case& c) {
  Faults faults;
  const Layout layouts[] = {Layout::kContiguous, Layout::kTransposed};
  for (const Layout layout : layouts) {
    for (const DType dtype : kFloats) {
      if (dtype != DType::kF64 && dtype != DType::kF32 && c.roundings == 0) continue;
      if (dtype != DType::kF64 && !has_floats(c)) continue;
      attempt(&faults, c, name(layout, dtype), [&]() -> std::string {
        const Arrays inputs = rounded_inputs(c, make_inputs(c, layout), dtype);
        const int64_t before = guarded_products();
        const Outcome plain = outcome_of(c, inputs, dtype, layout, kGuardDevice);
        const bool strides_count = products_depend_on_strides(kGuardDevice, before);
        for (const bool aligned : {false, true}) {
          const Watch watch(aligned);
          const Outcome guarded = outcome_of(c, inputs, dtype, layout, kGuardDevice);
          if (!guard_report().empty()) return guard_report();
          if (strides_count && !aligned) continue;  // a product elsewhere may have other bits
          if (std::string d = differing_bits(guarded, plain); !d.empty()) return d;
        }
        return "";
      });
    }
  }
  return faults;
}

Faults check_refusals(const Row& row) {
  Faults faults;
  if (row.refusals.empty()) faults.push_back("no call is known that it must refuse");
  for (const Refusal& refusal : row.refusals) {
    std::string message;
    try {
      refusal.call();
      faults.push_back(refusal.label + ": was accepted");
      continue;
    } catch (const Error& e) {
      message = e.what();
    } catch (const std::exception& e) {
      faults.push_back(refusal.label + ": threw no tessera::Error but " + e.what());
      continue;
    }
    std::vector<std::string> needles = refusal.needles;
    needles.push_back("[" + row.op + "]");
    for (const std::string& needle : needles) {
      if (message.find(needle) == std::string::npos) {
        faults.push_back(refusal.label + ": no '" + needle + "' in: " + message);
      }
    }
    if (message.find('\n') != std::string::npos) faults.push_back(refusal.label + ": two lines");
  }
  return faults;
}

}  // namespace tessera::ops_test
