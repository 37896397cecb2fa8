// The caching allocator on a pretended system, and the thread pool.
#include "engine/allocator.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <thread>

#include "cpu/machine.h"
#include "cpu/pool.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/philox.h"
#include "engine/tensor.h"

namespace tessera {
namespace {

// A system with `limit` bytes that remembers what it gave.
struct System {
  size_t limit = SIZE_MAX, held = 0;
  int allocations = 0, releases = 0;
  std::vector<size_t> released;

  CachingAllocator allocator() {
    return CachingAllocator(
        [this](size_t bytes) -> void* {
          if (bytes > limit - held) return nullptr;
          held += bytes;
          ++allocations;
          return std::malloc(bytes);
        },
        [this](void* block, size_t bytes) {
          held -= bytes;
          ++releases;
          released.push_back(bytes);
          std::free(block);
        });
  }
};

TEST_CASE("eight size classes for each power of two, an eighth wasted at most") {
  std::set<size_t> classes;
  size_t before = 0;
  for (size_t bytes = 0; bytes <= (1 << 16); ++bytes) {
    const size_t size = CachingAllocator::size_class(bytes);
    REQUIRE(size >= bytes);
    REQUIRE(size >= 64);
    REQUIRE(size % 64 == 0);
    REQUIRE(size >= before);
    REQUIRE(CachingAllocator::size_class(size) == size);
    if (bytes > 512) REQUIRE(size - bytes <= bytes / 8);
    if (bytes > (1 << 15)) classes.insert(size);
    before = size;
  }
  CHECK(classes.size() == 8);
  CHECK(CachingAllocator::size_class((size_t{1} << 40) + 1) == (size_t{9} << 37));
  CHECK_THROWS_AS(CachingAllocator::size_class(SIZE_MAX - 3), Error);
}

TEST_CASE("a freed block is handed out again") {
  System system;
  {
    CachingAllocator a = system.allocator();
    void* first = a.allocate(1000);
    a.release(first, 1000);
    CHECK(a.stats().live_bytes == 0);
    CHECK(a.stats().cached_bytes == 1024);
    CHECK(a.allocate(1010) == first);  // the same class
    CHECK(a.stats().cached_bytes == 0);
    CHECK(system.allocations == 1);
    void* other = a.allocate(3000);
    CHECK(a.stats().live_bytes == 1024 + 3072);
    CHECK(a.stats().peak_bytes == 1024 + 3072);
    CHECK(a.stats().system_allocations == 2);
    a.release(first, 1010);
    a.release(other, 3000);
    CHECK(a.stats().peak_bytes == 1024 + 3072);
    a.reset_peak();
    CHECK(a.stats().peak_bytes == 0);
    a.flush();
    CHECK(a.stats().cached_bytes == 0);
    CHECK(system.held == 0);
    a.release(a.allocate(64), 64);
  }
  CHECK(system.held == 0);  // the destructor gives back what is cached
}

TEST_CASE("a block of up to twice the size serves too, and returns to its own class") {
  System system;
  CachingAllocator a = system.allocator();
  void* large = a.allocate(4096);
  a.release(large, 4096);
  CHECK(a.allocate(2048) == large);
  CHECK(a.stats().live_bytes == 4096);
  CHECK(a.stats().cached_bytes == 0);
  a.release(large, 2048);
  CHECK(a.stats().live_bytes == 0);
  CHECK(a.stats().cached_bytes == 4096);
  void* small = a.allocate(1024);  // less than half: a block of its own
  CHECK(small != large);
  CHECK(a.allocate(4096) == large);
  CHECK(system.allocations == 2);
  a.release(small, 1024);
  a.release(large, 4096);
}

TEST_CASE("when the system refuses, the cache is given back and the request made once more") {
  System system;
  system.limit = 8192;
  CachingAllocator a = system.allocator();
  void* small = a.allocate(2048);
  a.release(a.allocate(4096), 4096);
  void* large = a.allocate(6000);  // fits only when the 4096 are gone
  CHECK(system.releases == 1);
  CHECK(a.stats().live_bytes == 2048 + 6144);
  const AllocatorStats before = a.stats();
  CHECK_THROWS_WITH(a.allocate(100), Catch::Contains("out of memory") &&
                                         Catch::Contains("128 bytes") &&
                                         Catch::Contains("8192 in use"));
  CHECK(a.stats().live_bytes == before.live_bytes);
  CHECK(a.stats().system_allocations == before.system_allocations);
  a.release(large, 6000);
  void* again = a.allocate(100);
  a.release(again, 100);
  a.release(small, 2048);
}

TEST_CASE("at a step's end the cache shrinks to a quarter above the recent peak, oldest first") {
  System system;
  CachingAllocator a = system.allocator();
  const auto step = [&](std::vector<size_t> sizes) {
    std::vector<std::pair<void*, size_t>> blocks;
    for (size_t s : sizes) blocks.emplace_back(a.allocate(s), s);
    for (auto& [block, size] : blocks) a.release(block, size);
    a.end_step();
  };
  step({1 << 20, 1 << 10});
  CHECK(system.releases == 0);  // all of it was in use at once
  for (int i = 0; i < 15; ++i) step({1 << 10});
  CHECK(system.releases == 0);  // the large step is still among the last 16
  step({1 << 10});
  CHECK(system.releases == 1);
  CHECK(system.released[0] == (1 << 20));
  CHECK(a.stats().cached_bytes == (1 << 10));
  // The same sizes again: nothing is asked of the system.
  const int allocations = system.allocations;
  for (int i = 0; i < 5; ++i) step({1 << 10});
  CHECK(system.allocations == allocations);
  // What was used once is given back before what every step uses, however small it is.
  step({1 << 12});
  for (int i = 0; i < 20; ++i) step({1 << 12});
  for (size_t i = 0; i < 20; ++i) a.release(a.allocate(64 + 64 * i), 64 + 64 * i);
  const int after_burst = system.allocations;
  for (int i = 0; i < 20; ++i) step({1 << 12});
  CHECK(system.allocations == after_burst);
  CHECK(a.stats().cached_bytes <= (1 << 12) * 5 / 4);
  // Many sizes, each alone, never more than one at a time: the cache may not add them up.
  for (size_t i = 1; i <= 16; ++i) step({i << 14});
  CHECK(a.stats().cached_bytes <= (size_t{16} << 14) * 5 / 4);
}

TEST_CASE("a recording has a pool of its own, and leaves what its step has used") {
  System system;
  CachingAllocator a = system.allocator();
  const auto touch = [&](size_t bytes) {
    void* block = a.allocate(bytes);
    a.release(block, bytes);
    return block;
  };
  void* const input = touch(1 << 10);
  touch(1 << 20);
  a.end_step();
  a.begin_step();
  CHECK(touch(1 << 10) == input);  // as it comes before each replay
  a.begin_recording();
  CHECK(system.released == std::vector<size_t>{1 << 20});
  void* const recorded = touch(1 << 10);
  CHECK(recorded != input);
  CHECK(touch(1 << 10) == recorded);
  a.end_recording();
  a.end_step();
  const int allocations = system.allocations;
  CHECK(touch(1 << 10) == input);
  CHECK(system.allocations == allocations);
  CHECK(a.stats().live_bytes == (1 << 10));  // the pool's, for as long as the recording lives
  a.drop_recording();
  CHECK(a.stats().live_bytes == 0);
  a.flush();
  CHECK(system.held == 0);
}

TEST_CASE("tensors come from and go back to the backend's allocator") {
  CachingAllocator& a = backend(Device::kCpu).allocator();
  const size_t live = a.stats().live_bytes;
  {
    const Tensor t = Tensor::empty({1000});
    CHECK(a.stats().live_bytes == live + 4096);
    CHECK(reinterpret_cast<uintptr_t>(t.data<float>()) % 64 == 0);
    const Tensor view = t.detach();
    CHECK(a.stats().live_bytes == live + 4096);
  }
  CHECK(a.stats().live_bytes == live);
}

TEST_CASE("threads share an allocator") {
  System system;
  std::mutex mutex;
  CachingAllocator a(
      [&](size_t bytes) {
        std::lock_guard lock(mutex);
        ++system.allocations;
        return std::malloc(bytes);
      },
      [](void* block, size_t) { std::free(block); });
  std::atomic<int> damaged{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      PhiloxStream random(RandomKey{1, 0, static_cast<uint32_t>(t)});
      std::vector<std::pair<uint8_t*, size_t>> held;
      for (int i = 0; i < 3000; ++i) {
        if (held.size() < 8 && random.coin()) {
          const size_t size = static_cast<size_t>(1 + random.below(2000));
          held.emplace_back(static_cast<uint8_t*>(a.allocate(size)), size);
          std::memset(held.back().first, t, size);
        } else if (!held.empty()) {
          auto [block, size] = held.back();
          held.pop_back();
          for (size_t b = 0; b < size; ++b) damaged += block[b] != t;
          a.release(block, size);
        }
        if (i % 500 == 0) a.end_step();
      }
      for (auto [block, size] : held) a.release(block, size);
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(damaged == 0);
  CHECK(a.stats().live_bytes == 0);
}

// Every task once, whatever the number of threads.
void check_every_task(int64_t tasks) {
  std::vector<std::atomic<int>> done(static_cast<size_t>(tasks));
  cpu::parallel_tasks(tasks, [&](int64_t i) { ++done[static_cast<size_t>(i)]; });
  int wrong = 0;
  for (const auto& d : done) wrong += d != 1;
  CHECK(wrong == 0);
}

TEST_CASE("the pool runs every task once") {
  const int before = num_threads();
  for (const int threads : {1, 2, 4, 7, 1, 3}) {
    set_num_threads(threads);
    for (const int64_t tasks : {0, 1, 2, 1000}) check_every_task(tasks);
    int64_t covered = 0;
    std::mutex mutex;
    cpu::parallel_ranges(1003, 100, [&](int64_t begin, int64_t end) {
      std::lock_guard lock(mutex);
      CHECK((end - begin == 100 || (begin == 1000 && end == 1003)));
      covered += end - begin;
    });
    CHECK(covered == 1003);
  }
  set_num_threads(before);
}

TEST_CASE("the pool survives nesting, exceptions and several callers") {
  const int before = num_threads();
  set_num_threads(3);
  std::atomic<int> inner{0};
  cpu::parallel_tasks(10, [&](int64_t) { cpu::parallel_tasks(10, [&](int64_t) { ++inner; }); });
  CHECK(inner == 100);

  CHECK_THROWS_WITH(
      cpu::parallel_tasks(50, [](int64_t i) { TESSERA_CHECK(i != 17, "task {} failed", i); }),
      "task 17 failed");
  check_every_task(100);

  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) cpu::parallel_tasks(20, [&](int64_t) { ++total; });
    });
  }
  for (std::thread& c : callers) c.join();
  CHECK(total == 4 * 50 * 20);
  set_num_threads(before);
  CHECK(cpu::default_num_threads() >= 1);
  CHECK(cpu::default_num_threads() <= static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace tessera
