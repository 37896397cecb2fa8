// What this machine is: the only file of the CPU backend that reads any, the kernel's own.
#pragma once

#include <string>

namespace tessera::cpu {

// The least of affinity mask, cgroup quota and physical cores.
int default_num_threads();

std::string processor_name();

}  // namespace tessera::cpu
