// Settings, weights, gradients.
#include "tests/golden/model.h"

#include <cmath>
#include <cstdlib>

#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera::golden {

bool Settings::has(const std::string& key) const {
  const auto it = metadata_.find(key);
  return it != metadata_.end() && it->second != "None";
}

const std::string& Settings::text(const std::string& key) const {
  const auto it = metadata_.find(key);
  TESSERA_CHECK(it != metadata_.end(), "its metadata name no {}", key);
  return it->second;
}

double Settings::number(const std::string& key) const {
  const std::string& digits = text(key);
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  TESSERA_CHECK(end != digits.c_str() && *end == '\0', "its {} is '{}'", key, digits);
  return value;
}

double Settings::number_or(const std::string& key, double otherwise) const {
  return has(key) ? number(key) : otherwise;
}

bool Settings::truth_or(const std::string& key, bool otherwise) const {
  return has(key) ? truth(key) : otherwise;
}

void load_weights(Module& model, const File& file, Device device) {
  model.move_to(device);
  model.load_state_dict(file.under("weights/", device));
}

std::string fault_of_loss(double have, double want) {
  if (std::fabs(have - want) <= kLoss * std::fabs(want)) return "";
  return fmt::format("is {:.9g} for {:.9g}, off by {:.3g}", have, want, std::fabs(have / want - 1));
}

void check_output(const std::string& name, const Tensor& have, const File& file, Device device,
                  Report& report) {
  const Tensor want = file.tensor(name, device);
  report.count(file, name, fault_within(have, want, kOutput * largest(want)));
}

void check_gradients(const Module& model, const File& file, Device device, Report& report) {
  auto wanted = file.under("grad/", device);
  for (const NamedTensor& p : model.named_parameters()) {
    const auto want = wanted.find(p.name);
    if (want == wanted.end()) {
      if (requires_grad(p.tensor))
        report.fail(file.name() + " grad/" + p.name, "is not in the file");
      continue;
    }
    const Tensor have = requires_grad(p.tensor) ? grad(p.tensor) : Tensor();
    report.count(file, "grad/" + p.name, fault_in_norm(have, want->second, kGradient));
    wanted.erase(want);
  }
  for (const auto& [name, want] : wanted) {
    report.fail(file.name() + " grad/" + name, "the model has no such parameter");
  }
}

}  // namespace tessera::golden
