// Runs the threads of a block: each goes on until it must wait for others, then the next one.
// Rule: a fiber is taken for a thread that waits, never for one that runs through; a kernel without
// barriers needs one fiber for all its threads.
#include "cuda/emulator/scheduler.h"

#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "cuda/emulator/emulator.h"
#include "cuda/emulator/fiber.h"
#include "cuda/emulator/memory.h"
#include "cuda/runtime.h"
#include "engine/error.h"

namespace tessera::cuda::emulator {
namespace {

constexpr char kBlockBarrier[] = "__syncthreads";
constexpr char kWarpBarrier[] = "__syncwarp";

struct Thread {
  Fiber* fiber = nullptr;          // while it waits
  const char* waits_at = nullptr;  // nullptr: it runs, or has ended
  bool ended = false;
};

// From global memory to shared, begun and not waited for.
struct Copy {
  SharedMemory* memory;
  size_t byte;
  const void* from;
  size_t size;
};

struct Warp {
  unsigned arrived = 0;  // lanes at the exchange that is going on
  const char* what = nullptr;
  int turn = 0;  // two sets of values: lanes still read the last one's when the next begins
  uint64_t values[2][32];
  uint64_t barriers = 1;
};

class Scheduler {
 public:
  void run(const Shape& shape, const std::function<void()>& body) {
    TESSERA_CHECK(shape_ == nullptr, "[emulator] a kernel starts a kernel at {}:{}", shape.file,
                  shape.line);
    TESSERA_CHECK(shape.block > 0 && shape.block % 32 == 0 && shape.block <= 1024,
                  "[emulator] {}:{}: a block of {} threads", shape.file, shape.line, shape.block);
    TESSERA_CHECK(shape.shared_bytes <= shape.most_shared_bytes,
                  "[emulator] {}:{}: {} bytes of shared memory", shape.file, shape.line,
                  shape.shared_bytes);
    shape_ = &shape;
    body_ = &body;
    dynamic_.resize(shape.shared_bytes);
    gridDim = shape.grid;
    blockDim = dim3(static_cast<unsigned>(shape.block));
    try {
      for (unsigned z = 0; z < shape.grid.z; ++z) {
        for (unsigned y = 0; y < shape.grid.y; ++y) {
          for (unsigned x = 0; x < shape.grid.x; ++x) {
            blockIdx = {x, y, z};
            run_block();
          }
        }
      }
    } catch (...) {
      shape_ = nullptr;
      fibers_.clear();  // those that still wait never go on
      idle_.clear();
      throw;
    }
    shape_ = nullptr;
  }

  void wait_for_block() {
    if (ended_ > 0) fail_here("is at __syncthreads, but others of the block have ended");
    if (++arrived_ < count()) {
      wait(kBlockBarrier);
      return;
    }
    arrived_ = 0;
    ++now.barriers;
    for (int t = 0; t < count(); ++t) {
      if (t != now.thread) release(t);
    }
  }

  const uint64_t* exchange(const char* what, unsigned mask, uint64_t value) {
    if (mask != 0xffffffffu) fail_here("takes part in a shuffle or vote of less than the warp");
    Warp& warp = warps_[static_cast<size_t>(now.thread / 32)];
    if (warp.arrived == 0) warp.what = what;
    if (warp.what != what && std::strcmp(warp.what, what) != 0) {
      fail_here(fmt::format("is at {}, others of its warp at {}", what, warp.what));
    }
    uint64_t* values = warp.values[warp.turn];
    values[now.thread % 32] = value;
    warp.arrived |= 1u << (now.thread % 32);
    if (warp.arrived != 0xffffffffu) {
      wait(what);
      return values;
    }
    warp.arrived = 0;
    warp.turn ^= 1;
    if (what == kWarpBarrier) now.warp_barriers = ++warp.barriers;
    const int first = now.thread / 32 * 32;
    for (int t = first; t < first + 32; ++t) {
      if (t != now.thread) release(t);
    }
    return values;
  }

  SharedMemory& dynamic_memory() { return dynamic_; }

  void take_static(size_t bytes) {
    static_bytes_ += bytes;
    if (static_bytes_ + shape_->shared_bytes > shape_->most_shared_bytes) {
      fail_here(fmt::format("uses {} bytes of static and {} of dynamic shared memory, beyond {}",
                            static_bytes_, shape_->shared_bytes, shape_->most_shared_bytes));
    }
  }

  void copy_later(SharedMemory* memory, size_t byte, const void* from, size_t size) {
    memory->begin_copy(byte, size);
    copies_[static_cast<size_t>(now.thread)].push_back({memory, byte, from, size});
  }
  void finish_copies() {
    std::vector<Copy>& own = copies_[static_cast<size_t>(now.thread)];
    for (const Copy& c : own) c.memory->finish_copy(c.byte, c.from, c.size);
    own.clear();
  }

  [[noreturn]] void fail_here(const std::string& what) const {
    throw Error(fmt::format("{}: thread {} {}", place(), now.thread, what));
  }

 private:
  int count() const { return shape_->block; }

  std::string place() const {
    return fmt::format("[emulator] the launch at {}:{}, block ({}, {}, {})", shape_->file,
                       shape_->line, blockIdx.x, blockIdx.y, blockIdx.z);
  }

  void run_block() {
    ++now.block;
    ++now.barriers;
    static_bytes_ = 0;
    threads_.assign(static_cast<size_t>(count()), {});
    warps_.assign(static_cast<size_t>(count() / 32), {});
    copies_.resize(static_cast<size_t>(count()));
    for (std::vector<Copy>& own : copies_) own.clear();
    next_ = ended_ = arrived_ = 0;
    while (ended_ < count()) {
      if (next_ < count()) {
        idle_fiber()->resume();
      } else if (!ready_.empty()) {
        const int t = ready_.front();
        ready_.pop_front();
        go_on(t);
      } else {
        throw Error(deadlock());
      }
      if (failure_) {
        ready_.clear();
        std::rethrow_exception(std::exchange(failure_, nullptr));
      }
    }
  }

  Fiber* idle_fiber() {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(
          [](void* self) { static_cast<Scheduler*>(self)->run_threads(); }, this));
      return fibers_.back().get();
    }
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }

  // The body of every fiber: thread after thread, until none is left to start.
  void run_threads() {
    for (;;) {
      Fiber* self = Fiber::current();
      while (next_ < count() && !failure_) run_thread(next_++);
      idle_.push_back(self);
      Fiber::suspend();
    }
  }

  void run_thread(int t) {
    become(t);
    try {
      (*body_)();
      if (arrived_ > 0) fail_here("has ended, but others of the block wait at __syncthreads");
      if (!copies_[static_cast<size_t>(now.thread)].empty()) {
        fail_here("has ended without having waited for its copies");
      }
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
    }
    threads_[static_cast<size_t>(now.thread)].ended = true;
    ++ended_;
  }

  void become(int t) {
    now.thread = t;
    now.warp_barriers = warps_[static_cast<size_t>(t / 32)].barriers;
    threadIdx = {static_cast<unsigned>(t), 0, 0};
  }

  void wait(const char* at) {
    const int self = now.thread;
    Thread& thread = threads_[static_cast<size_t>(self)];
    thread.fiber = Fiber::current();
    thread.waits_at = at;
    Fiber::suspend();
    become(self);
  }

  void release(int t) {
    threads_[static_cast<size_t>(t)].waits_at = nullptr;
    ready_.push_back(t);
  }

  void go_on(int t) { threads_[static_cast<size_t>(t)].fiber->resume(); }

  // The first thread that waits, and the first that is elsewhere.
  std::string deadlock() const {
    const auto state = [&](size_t t) -> std::string {
      return threads_[t].ended ? "has ended" : fmt::format("waits at {}", threads_[t].waits_at);
    };
    size_t first = 0;
    while (threads_[first].ended) ++first;
    std::string text = fmt::format("{}: thread {} {} for ever", place(), first, state(first));
    for (size_t t = 0; t < threads_.size(); ++t) {
      if (state(t) != state(first)) return text + fmt::format(", thread {} {}", t, state(t));
    }
    return text;
  }

  const Shape* shape_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::vector<Copy>> copies_;  // by thread
  std::deque<int> ready_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::exception_ptr failure_;
  SharedMemory dynamic_{0};
  size_t static_bytes_ = 0;  // of the arrays that the block has used so far
  int next_ = 0, ended_ = 0, arrived_ = 0;
};

Scheduler& scheduler() {
  static thread_local Scheduler one;
  return one;
}

std::atomic<uint64_t> launch_count = 0;

}  // namespace

uint64_t launches() { return launch_count; }
void run(const Shape& shape, const std::function<void()>& body) {
  ++launch_count;
  const OpenMemory open;
  scheduler().run(shape, body);
}
void block_barrier() { scheduler().wait_for_block(); }
void warp_barrier() { scheduler().exchange(kWarpBarrier, 0xffffffffu, 0); }
const uint64_t* exchange(const char* what, unsigned mask, uint64_t value) {
  return scheduler().exchange(what, mask, value);
}
SharedMemory& dynamic_memory() { return scheduler().dynamic_memory(); }
void copy_later(SharedMemory* memory, size_t byte, const void* from, size_t size) {
  scheduler().copy_later(memory, byte, from, size);
}
void finish_copies() { scheduler().finish_copies(); }
void take_static(size_t bytes) { scheduler().take_static(bytes); }
void fail(const std::string& what) { scheduler().fail_here(what); }

}  // namespace tessera::cuda::emulator
