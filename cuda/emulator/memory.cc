// One stretch of addresses, handed out from its start on. Only what has been handed out is opened
// and closed, with one call for all of it: microseconds for the few megabytes of a command's test,
// but nine tenths of the op table's time with its 200 MB.
#include "cuda/emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace tessera::cuda::emulator {
namespace {

constexpr size_t kAddresses = size_t{1} << 40;  // reserved: addresses alone cost nothing

class Memory {
 public:
  void* allocate(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (base_ == nullptr) reserve();
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    // At least one byte more than asked for, for the address sanitizer to guard.
    const size_t whole = (bytes / page + 1) * page;
    char* const block = take(whole);
    if (block == nullptr) return nullptr;
    sizes_[block] = whole;
    if (closes_) protect(PROT_READ | PROT_WRITE);
    ASAN_UNPOISON_MEMORY_REGION(block, bytes);
    std::memset(block, 0xFF, bytes);
    ASAN_POISON_MEMORY_REGION(block + bytes, whole - bytes);
    if (open_ == 0) close_to_host();
    return block;
  }

  void release(void* block) {
    if (block == nullptr) return;
    const std::lock_guard lock(mutex_);
    const auto known = sizes_.find(block);
    TESSERA_CHECK(known != sizes_.end(), "[emulator] memory is freed that is not the device's");
    const size_t whole = known->second;
    ASAN_POISON_MEMORY_REGION(block, whole);
    madvise(block, whole, MADV_DONTNEED);  // the addresses stay, the memory goes
    free_[whole].push_back(static_cast<char*>(block));
    sizes_.erase(known);
  }

  void open() {
    const std::lock_guard lock(mutex_);
    if (open_++ == 0 && closes_) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--open_ == 0) close_to_host();
  }

 private:
  void reserve() {
    void* const found = mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TESSERA_CHECK(found != MAP_FAILED, "[emulator] no addresses for the device's memory");
    base_ = static_cast<char*>(found);
  }

  // Addresses that were given back, of this very size, or new ones; nullptr when the system will
  // not have it.
  char* take(size_t whole) {
    std::vector<char*>& free = free_[whole];
    if (!free.empty()) {
      char* const block = free.back();
      free.pop_back();
      return block;
    }
    char* const block = base_ + used_;
    if (whole > kAddresses - used_) return nullptr;
    if (mprotect(block, whole, PROT_READ | PROT_WRITE) != 0) return nullptr;
    used_ += whole;
    return block;
  }

  void close_to_host() {
    if (closes_) protect(PROT_NONE);
  }
  void protect(int how) {
    if (used_ > 0) mprotect(base_, used_, how);
  }

  const bool closes_ = std::getenv(kClosedVariable) != nullptr;
  std::mutex mutex_;
  char* base_ = nullptr;
  size_t used_ = 0;
  int open_ = 0;
  std::unordered_map<void*, size_t> sizes_;              // of the blocks that are handed out
  std::unordered_map<size_t, std::vector<char*>> free_;  // by size
};

// Never destroyed: tensors in static storage may outlive any order of destructors.
Memory& memory() {
  static Memory* one = new Memory;
  return *one;
}

}  // namespace

void* allocate(size_t bytes) { return memory().allocate(bytes); }
void release(void* block) { memory().release(block); }

OpenMemory::OpenMemory() { memory().open(); }
OpenMemory::~OpenMemory() { memory().close(); }

}  // namespace tessera::cuda::emulator
