// The registry of backends.
#include "engine/backend.h"

#include <array>
#include <atomic>

#include "engine/error.h"

namespace tessera {
namespace {

using Getter = Backend* (*)();

// A function-local array: backends register from static initialisers, in any order.
std::array<Getter, kNumDevices>& getters() {
  static std::array<Getter, kNumDevices> table{};
  return table;
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count{0};
  return count;
}

}  // namespace

void register_backend(Device device, Backend* (*get)()) {
  getters()[static_cast<size_t>(device)] = get;
}

bool has_backend(Device device) { return getters()[static_cast<size_t>(device)] != nullptr; }

Backend& backend(Device device) {
  const Getter get = getters()[static_cast<size_t>(device)];
  TESSERA_CHECK_USAGE(get != nullptr, "this build has no {} backend", name_of(device));
  return *get();
}

void set_num_threads(int threads) { thread_count().store(threads); }
int num_threads() { return thread_count().load(); }

}  // namespace tessera
