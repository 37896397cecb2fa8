// Reads what the kernel says of the machine.
#include "cpu/machine.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <utility>

namespace tessera::cpu {
namespace {

int physical_cores_allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  std::set<std::pair<std::string, std::string>> cores;
  int allowed = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    ++allowed;
    const std::string base = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string core, package;
    std::ifstream(base + "core_id") >> core;
    std::ifstream(base + "physical_package_id") >> package;
    if (!core.empty()) cores.emplace(package, core);
  }
  return cores.empty() ? std::max(1, allowed) : static_cast<int>(cores.size());
}

// cgroup v2's cpu.max, or v1's quota; a large number when there is none.
int cgroup_quota() {
  std::string quota;
  double period = 0;
  if (std::ifstream max("/sys/fs/cgroup/cpu.max"); max >> quota >> period && quota != "max") {
    return std::max(1, static_cast<int>(std::stod(quota) / period));
  }
  double v1 = 0;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> v1;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  return v1 > 0 && period > 0 ? std::max(1, static_cast<int>(v1 / period)) : 1 << 20;
}

}  // namespace

int default_num_threads() { return std::min(physical_cores_allowed(), cgroup_quota()); }

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

}  // namespace tessera::cpu
