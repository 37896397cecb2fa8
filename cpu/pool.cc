// Workers that spin for a moment and then sleep; tasks are handed out one by one.
#include "cpu/pool.h"

#include <immintrin.h>
#include <omp.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
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
  std::atomic<int> inside{0};  // workers that may still touch this job
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
    job.inside.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    job.work();
    // The job lives on the caller's stack: wait until every worker let go of it.
    for (int spin = 0; job.inside.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kSpins) {
        _mm_pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  std::mutex busy;  // one job at a time

 private:
  void resize(int count) {
    if (count == static_cast<int>(workers_.size())) return;
    stop();
    stopping_.store(false);
    for (int i = 0; i < count; ++i) {
      workers_.emplace_back([this, seen = generation_.load()]() mutable { loop(seen); });
    }
  }

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void loop(uint64_t seen) {
    inside_pool = true;
    omp_set_num_threads(1);  // oneDNN must not start threads inside ours
    while (true) {
      for (int spin = 0; spin < kSpins; ++spin) {
        if (generation_.load(std::memory_order_acquire) != seen || stopping_.load()) break;
        _mm_pause();
      }
      Job* job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen || stopping_.load(); });
        if (stopping_.load()) return;
        seen = generation_.load();
        job = job_;
      }
      job->work();
      job->inside.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> stopping_{false};
  Job* job_ = nullptr;
};

// Never destroyed: kernels may run in static destructors of their users.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

struct Scratch {
  struct Free {
    void operator()(void* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<void, Free> data;
  int64_t bytes = 0;
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
  omp_set_num_threads(1);
  pool().run(job);
  inside_pool = false;
  if (job.error) std::rethrow_exception(job.error);
}

void* thread_scratch(int slot, int64_t bytes) {
  thread_local Scratch scratch[8];
  Scratch& s = scratch[slot];
  if (s.bytes < bytes) {
    s.data.reset();
    s.bytes = (bytes + 4095) / 4096 * 4096;
    s.data.reset(::operator new (static_cast<size_t>(s.bytes), std::align_val_t{64}));
  }
  return s.data.get();
}

}  // namespace tessera::cpu
