// Files of many small cases, listed in the .json beside them: [{"case", "op", "attrs"}, ...].
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/golden/golden.h"

namespace tessera::golden {

struct Case {
  std::string name, op;
  nlohmann::json attrs;
};

// Whether there is anything to run an op with; what is wrong with a case, "" when nothing is.
using KnowsOp = std::function<bool(const std::string& op)>;
using RunCase = std::function<std::string(const Case&)>;

// Runs every case of the list. A case whose op is not known is skipped by name, one that throws has
// failed, and so have tensors that belong to no case of the list. Error: no list.
void run_cases(const File& file, Report& report, const KnowsOp& knows, const RunCase& run);

}  // namespace tessera::golden
