// Workers that spin for a moment and then sleep; tasks are handed out one by one.
#include "cpu/pool.h"

#include <immintrin.h>
#include <omp.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <sstream>
#include <string>
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

int physical_cores_allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  std::set<std::pair<std::string, std::string>> cores;
  int allowed = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    ++allowed;
    const std::string base = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string core, package;
    std::ifstream(base + "core_id") >> core;
    std::ifstream(base + "physical_package_id") >> package;
    if (!core.empty()) cores.emplace(package, core);
  }
  return cores.empty() ? std::max(1, allowed) : static_cast<int>(cores.size());
}

// cgroup v2's cpu.max, or v1's quota; a large number when there is none.
int cgroup_quota() {
  std::string quota;
  double period = 0;
  if (std::ifstream max("/sys/fs/cgroup/cpu.max"); max >> quota >> period && quota != "max") {
    return std::max(1, static_cast<int>(std::stod(quota) / period));
  }
  double v1 = 0;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> v1;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  return v1 > 0 && period > 0 ? std::max(1, static_cast<int>(v1 / period)) : 1 << 20;
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

int default_num_threads() { return std::min(physical_cores_allowed(), cgroup_quota()); }

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
