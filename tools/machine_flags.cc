// Device names to devices; the number of threads is set here and nowhere else in the program.
#include "tools/machine_flags.h"

#include "engine/backend.h"
#include "engine/error.h"

namespace tessera {

void MachineFlags::add_to(CLI::App& app) {
  app.add_option("--device", device, "auto, cpu or cuda [default: auto]")
      ->type_name("NAME")
      ->group("Run");
  app.add_option("--threads", threads,
                 "CPU threads; 0: what affinity, quota and cores allow [default: 0]")
      ->type_name("N")
      ->group("Run");
}

Device MachineFlags::apply() const {
  const Device chosen = device_from_name(device);
  constexpr int kMostThreads = 1024;
  TESSERA_CHECK_USAGE(threads >= 0 && threads <= kMostThreads, "--threads {} is not in 0..{}",
                      threads, kMostThreads);
  if (threads > 0) set_num_threads(threads);
  return chosen;
}

Device device_from_name(const std::string& name) {
  if (name == "auto") return default_device();
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    if (name != name_of(device)) continue;
    TESSERA_CHECK_USAGE(has_backend(device), "--device {}: {}", name, why_unavailable(device));
    return device;
  }
  throw UsageError(fmt::format("--device {}: it is auto, cpu or cuda", name));
}

}  // namespace tessera
