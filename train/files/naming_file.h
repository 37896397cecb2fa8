// Messages that name the file which is to blame.
// Rule: what a user did wrong stays a UsageError and what failed an Error: the program's exit
// status hangs on it.
#pragma once

#include <string>

#include "engine/error.h"

namespace tessera {

// work(), with "path: " before what an Error says.
template <class Work>
auto naming_file(const std::string& path, const Work& work) {
  try {
    return work();
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", path, error.what()));
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace tessera
