// The registry of backends.
#include "engine/backend.h"

#include <array>
#include <atomic>
#include <chrono>
#include <utility>

#include "engine/error.h"

namespace tessera {
namespace {

struct Entry {
  Backend* (*get)() = nullptr;
  std::string (*why_not)() = nullptr;
  bool usable = false;  // why_not was asked and had nothing to say
};

// A function-local array: backends register from static initialisers, in any order.
Entry& entry(Device device) {
  static std::array<Entry, kNumDevices> table{};
  return table[static_cast<size_t>(device)];
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count{0};
  return count;
}

// Of a device that has done everything when a call returns.
class CopyAtOnce final : public HostCopy {
 public:
  CopyAtOnce(Backend& backend, size_t bytes) : backend_(backend), bytes_(bytes) {}
  void queue(const void* device) override {
    backend_.copy_to_host(bytes_.data(), device, bytes_.size());
  }
  bool ready() override { return true; }
  const void* wait() override { return bytes_.data(); }

 private:
  Backend& backend_;
  std::vector<std::byte> bytes_;
};

// Of a device that is done with everything when a call returns.
class HostMoment final : public Moment {
 public:
  double seconds_since(const Moment& earlier) const override {
    return std::chrono::duration<double>(at_ - static_cast<const HostMoment&>(earlier).at_).count();
  }

 private:
  std::chrono::steady_clock::time_point at_ = std::chrono::steady_clock::now();
};

}  // namespace

std::unique_ptr<Moment> Backend::moment() { return std::make_unique<HostMoment>(); }

void Backend::pictures(const PictureArgs&) {
  throw Error("[pictures] this device has no kernel for it");
}

std::unique_ptr<HostCopy> Backend::host_copy(size_t bytes) {
  return std::make_unique<CopyAtOnce>(*this, bytes);
}

std::unique_ptr<Graph> Backend::record(const std::function<void()>&) {
  throw Error("[record] this device has no graphs");
}

void register_backend(Device device, Backend* (*get)(), std::string (*why_not)()) {
  entry(device) = {get, why_not, why_not == nullptr};
}

std::string why_unavailable(Device device) {
  const Entry& known = entry(device);
  if (known.get == nullptr) return fmt::format("this build has no {} backend", name_of(device));
  return known.why_not == nullptr ? "" : known.why_not();
}

bool has_backend(Device device) { return why_unavailable(device).empty(); }

// Asked with every op: the reasons are gone through once.
Backend& backend(Device device) {
  Entry& known = entry(device);
  if (!known.usable) [[unlikely]] {
    const std::string why = why_unavailable(device);
    TESSERA_CHECK_USAGE(why.empty(), "{}: {}", name_of(device), why);
    known.usable = true;
  }
  return *known.get();
}

Device default_device() { return has_backend(Device::kCuda) ? Device::kCuda : Device::kCpu; }

namespace {
thread_local bool tf32_allowed = false;
}

Tf32::Tf32(bool allowed) : before_(std::exchange(tf32_allowed, allowed)) {}
Tf32::~Tf32() { tf32_allowed = before_; }
bool Tf32::allowed() { return tf32_allowed; }

void set_num_threads(int threads) { thread_count().store(threads); }
int num_threads() { return thread_count().load(); }

}  // namespace tessera
