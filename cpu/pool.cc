// Workers that spin for a moment and then sleep; tasks are handed out one by one.
// Rule: a job waits for the workers that joined it and for no other. One that is asleep, or that
// the system has put aside for another program, is not needed: a kernel of 50 us must not wait for
// it.
#include "cpu/pool.h"

#include <immintrin.h>
#include <omp.h>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "engine/backend.h"

namespace tessera::cpu {
namespace {

// About 30 us: longer than the gap between two kernels of a step, shorter than anyone would miss.
constexpr int kSpins = 2000;

struct Job {
  void (*body)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t tasks = 0;
  std::atomic<int64_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      try {
        body(context, task);
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        next.store(tasks, std::memory_order_relaxed);
      }
    }
  }
};

thread_local bool inside_pool = false;

class Pool {
 public:
  ~Pool() { stop(); }

  void run(Job& job) {
    resize(std::max(1, num_threads()) - 1);
    if (workers_.empty()) {
      job.work();
      return;
    }
    job_ = &job;
    state_.store(next_generation() | kOpen, std::memory_order_release);
    state_.notify_all();
    job.work();
    // The job lives on the caller's stack: close it, and wait until who joined has let go of it.
    state_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int spin = 0;; ++spin) {
      const uint32_t left = left_.load(std::memory_order_acquire);
      if ((state_.load(std::memory_order_acquire) & kJoined) == 0) return;
      if (spin < kSpins) {
        _mm_pause();
      } else {
        left_.wait(left);
      }
    }
  }

  std::mutex busy;  // one job at a time

 private:
  // One word, so that joining and closing cannot pass each other: how many have joined, whether
  // more may, and a number that each job changes.
  static constexpr uint32_t kJoined = 0xff, kOpen = 0x100, kGeneration = 0x200;

  static uint32_t generation_of(uint32_t state) { return state & ~(kOpen | kJoined); }
  uint32_t next_generation() const { return generation_of(state_.load()) + kGeneration; }

  void resize(int count) {
    count = std::min(count, static_cast<int>(kJoined));
    if (count == static_cast<int>(workers_.size())) return;
    stop();
    stopping_.store(false);
    for (int i = 0; i < count; ++i) {
      workers_.emplace_back([this, seen = generation_of(state_.load())] { loop(seen); });
    }
  }

  void stop() {
    stopping_.store(true);
    state_.store(next_generation(), std::memory_order_release);
    state_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void loop(uint32_t seen) {
    inside_pool = true;
    keep_onednn_on_this_thread();
    while (true) {
      uint32_t state = state_.load(std::memory_order_acquire);
      for (int spin = 0; generation_of(state) == seen; ++spin) {
        if (spin < kSpins) {
          _mm_pause();
        } else {
          state_.wait(state);
        }
        state = state_.load(std::memory_order_acquire);
      }
      if (stopping_.load()) return;
      seen = generation_of(state);
      if (join(state)) {
        job_->work();
        leave();
      }
    }
  }

  // True unless the job of `state` has been closed.
  bool join(uint32_t state) {
    const uint32_t generation = generation_of(state);
    while ((state & kOpen) != 0 && generation_of(state) == generation) {
      if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
    }
    return false;
  }

  void leave() {
    state_.fetch_sub(1, std::memory_order_acq_rel);
    left_.fetch_add(1, std::memory_order_release);
    left_.notify_all();
  }

  std::vector<std::thread> workers_;
  std::atomic<uint32_t> state_{0};
  std::atomic<uint32_t> left_{0};  // counts who left a job: what the caller sleeps on
  std::atomic<bool> stopping_{false};
  Job* job_ = nullptr;
};

// Never destroyed: kernels may run in static destructors of their users.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

std::atomic<size_t> scratch_held{0};

struct Scratch {
  struct Free {
    void operator()(void* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<void, Free> data;
  int64_t bytes = 0;

  ~Scratch() { give_back(); }
  void give_back() {
    data.reset();
    scratch_held -= static_cast<size_t>(std::exchange(bytes, 0));
  }
};

}  // namespace

void run_tasks(int64_t tasks, void (*body)(void*, int64_t), void* context) {
  if (tasks <= 0) return;
  std::unique_lock<std::mutex> hold;
  if (tasks > 1 && !inside_pool) hold = std::unique_lock(pool().busy, std::try_to_lock);
  if (!hold.owns_lock()) {
    for (int64_t task = 0; task < tasks; ++task) body(context, task);
    return;
  }
  Job job;
  job.body = body;
  job.context = context;
  job.tasks = tasks;
  inside_pool = true;
  keep_onednn_on_this_thread();
  pool().run(job);
  inside_pool = false;
  if (job.error) std::rethrow_exception(job.error);
}

void keep_onednn_on_this_thread() { omp_set_num_threads(1); }

size_t scratch_bytes() { return scratch_held.load(); }

void* thread_scratch(int slot, int64_t bytes) {
  thread_local Scratch scratch[8];
  Scratch& s = scratch[slot];
  if (s.bytes < bytes) {
    s.give_back();
    s.bytes = (bytes + 4095) / 4096 * 4096;
    scratch_held += static_cast<size_t>(s.bytes);
    s.data.reset(::operator new (static_cast<size_t>(s.bytes), std::align_val_t{64}));
  }
  return s.data.get();
}

}  // namespace tessera::cpu
