// The walk over a list of cases.
#include "tests/golden/cases.h"

#include <fstream>
#include <set>

namespace tessera::golden {

void run_cases(const File& file, Report& report, const KnowsOp& knows, const RunCase& run) {
  std::ifstream sidecar(file.sidecar());
  TESSERA_CHECK(sidecar.good(), "its list of cases, {}, cannot be read", file.sidecar());
  std::set<std::string> listed;
  for (const nlohmann::json& entry : nlohmann::json::parse(sidecar)) {
    const Case listed_case = {entry.at("case"), entry.at("op"), entry.at("attrs")};
    listed.insert(listed_case.name);
    if (!knows(listed_case.op)) {
      report.skip(file.name() + " " + listed_case.name, "no op " + listed_case.op);
      continue;
    }
    std::string fault;
    try {
      fault = run(listed_case);
    } catch (const std::exception& e) {
      fault = e.what();
    }
    report.count(file, listed_case.name, fault);
  }
  for (const SafetensorsEntry& entry : file.reader().entries()) {
    const std::string name = entry.name.substr(0, entry.name.find('/'));
    if (listed.insert(name).second) report.fail(file.name() + " " + name, "is in no list of cases");
  }
}

}  // namespace tessera::golden
