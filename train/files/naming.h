// Messages that name what is to blame: a file, a tensor in it.
// Rule: what a user did wrong stays a UsageError and what failed an Error: the program's exit
// status hangs on it.
#pragma once

#include <string>

#include "engine/error.h"

namespace tessera {

// work(), with "what: " before what an Error says.
template <class Work>
auto naming(const std::string& what, const Work& work) {
  try {
    return work();
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", what, error.what()));
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", what, error.what()));
  }
}

}  // namespace tessera
