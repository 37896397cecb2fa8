// Where a tensor lives. One device of each kind; a backend registers itself for its kind.
#pragma once

#include <cstdint>
#include <string_view>

namespace tessera {

enum class Device : uint8_t { kCpu, kCuda };
inline constexpr int kNumDevices = 2;

constexpr const char* name_of(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

}  // namespace tessera
