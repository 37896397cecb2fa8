// What the rooms for models share: settings out of the metadata, weights in, numbers compared.
// Rule: the bounds are a few times PyTorch's own distance between f32 and f64 on such files; they
// hold for every model.
#pragma once

#include "nn/module.h"
#include "tests/golden/golden.h"

namespace tessera::golden {

inline constexpr double kLoss = 1e-6;      // relative
inline constexpr double kOutput = 5e-6;    // of the largest value
inline constexpr double kGradient = 1e-5;  // of the gradient's norm

// The model's settings as the file's metadata hold them, in Python's spelling.
class Settings {
 public:
  explicit Settings(const File& file) : metadata_(file.reader().metadata()) {}

  // Errors name the key.
  const std::string& text(const std::string& key) const;
  double number(const std::string& key) const;
  int64_t whole(const std::string& key) const { return static_cast<int64_t>(number(key)); }
  bool truth(const std::string& key) const { return text(key) == "True"; }
  // Where the key is missing or None.
  double number_or(const std::string& key, double otherwise) const;
  bool truth_or(const std::string& key, bool otherwise) const;

 private:
  bool has(const std::string& key) const;

  const Metadata& metadata_;
};

// The model moves to the device; then all that lies under "weights/" is copied into it.
void load_weights(Module& model, const File& file, Device device);

std::string fault_of_loss(double have, double want);

// Within kOutput.
void check_output(const std::string& name, const Tensor& have, const File& file, Device device,
                  Report& report);

// Every gradient under "grad/", after a backward pass; a trained parameter that is not there fails.
void check_gradients(const Module& model, const File& file, Device device, Report& report);

}  // namespace tessera::golden
