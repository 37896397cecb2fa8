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
  // Sets the number of threads; returns the device to work on, or throws a UsageError that says why
  // it cannot be had.
  Device apply() const;
};

// "auto" is default_device(). UsageError that says why when a device cannot be had.
Device device_from_name(const std::string& name);

}  // namespace tessera
