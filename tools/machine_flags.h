// --device and --threads: what a command runs on. They change how long it takes, never its result.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "engine/device.h"

namespace tessera {

struct MachineFlags {
  std::string device = "auto";
  int threads = 0;  // 0: as many as the machine gives this process

  void add_to(CLI::App& app);
  // UsageError for a device that this program has no backend for; sets the number of threads.
  void apply() const;
};

// "auto" is default_device(). UsageError that says why when a device cannot be had.
Device device_from_name(const std::string& name);

}  // namespace tessera
