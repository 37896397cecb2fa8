// A module's state dict by name, for tests that look tensors up.
#pragma once

#include <map>
#include <string>

#include "nn/module.h"

namespace tessera {

inline std::map<std::string, Tensor> state_of(const Module& module) {
  std::map<std::string, Tensor> state;
  for (const auto& [name, tensor] : module.state_dict()) state[name] = tensor;
  return state;
}

}  // namespace tessera
