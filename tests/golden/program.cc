// The command line of the golden runner.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string_view>

#include "engine/backend.h"
#include "tests/golden/golden.h"

namespace tessera::golden {
namespace {

Device device_named(std::string_view name) {
  for (int i = 0; i < kNumDevices; ++i) {
    const Device device = static_cast<Device>(i);
    if (name == name_of(device)) {
      TESSERA_CHECK_USAGE(has_backend(device), "--device {}: {}", name, why_unavailable(device));
      return device;
    }
  }
  throw UsageError(fmt::format("there is no device '{}'", name));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::optional<std::filesystem::path> folder;
    Device device = Device::kCpu;
    for (int i = 1; i < argc; ++i) {
      const std::string_view word = argv[i];
      if (word == "--device" && i + 1 < argc) {
        device = device_named(argv[++i]);
      } else {
        TESSERA_CHECK_USAGE(!folder && !word.starts_with("-"),
                            "usage: golden DIR [--device NAME]: '{}' is not understood", word);
        folder = word;
      }
    }
    TESSERA_CHECK_USAGE(folder.has_value(), "usage: golden DIR [--device NAME]");
    // `bazel run` starts programs elsewhere and says where the user was.
    if (const char* typed_in = std::getenv("BUILD_WORKING_DIRECTORY"); typed_in != nullptr) {
      folder = std::filesystem::path(typed_in) / *folder;
    }
    return run_folder(folder->string(), device, std::cout);
  } catch (const UsageError& e) {
    std::cerr << "golden: " << e.what() << "\n";
    return 2;
  } catch (const std::exception& e) {
    std::cerr << "golden: " << e.what() << "\n";
    return 1;
  }
}

}  // namespace tessera::golden
