// Copies of a loader on the emulated device. They are done as late as they may be, when somebody
// waits for them: until then the device's block holds NaN bits, and who has changed the host's
// bytes after sending them is found out.
#include "cuda/transfer.h"

#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/emulator/memory.h"
#include "engine/error.h"

namespace tessera::cuda {
namespace {

class LateTransfer final : public Transfer {
 public:
  LateTransfer(void* device, size_t bytes)
      : device_(device), bytes_(bytes), host_(std::aligned_alloc(kAlign, rounded(bytes))) {
    TESSERA_CHECK(host_ != nullptr, "[emulator] no memory for a copy of {} bytes", bytes);
    const emulator::OpenMemory open;
    std::memset(device_, 0xFF, bytes_);
  }
  ~LateTransfer() override { std::free(host_); }

  void* host() override { return host_; }
  void send() override {
    TESSERA_CHECK(!sent_, "[emulator] a copy of {} bytes is begun twice", bytes_);
    const char* from = static_cast<const char*>(host_);
    as_sent_.assign(from, from + bytes_);
    sent_ = true;
  }
  void arrive() override {
    TESSERA_CHECK(sent_, "[emulator] a copy is awaited that nobody has begun");
    TESSERA_CHECK(std::memcmp(host_, as_sent_.data(), bytes_) == 0,
                  "[emulator] {} bytes were changed before their copy was done", bytes_);
    const emulator::OpenMemory open;
    std::memcpy(device_, host_, bytes_);
  }

 private:
  static constexpr size_t kAlign = 64;
  static size_t rounded(size_t bytes) { return (bytes + kAlign) / kAlign * kAlign; }

  void* device_;
  size_t bytes_;
  void* host_;
  std::vector<char> as_sent_;
  bool sent_ = false;
};

}  // namespace

std::unique_ptr<Transfer> transfer(void* device, size_t bytes) {
  return std::make_unique<LateTransfer>(device, bytes);
}

}  // namespace tessera::cuda
