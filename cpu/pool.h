// The thread pool behind every CPU kernel.
// Rule: a kernel cuts its work into tasks whose boundaries depend on the shape alone, or change no
// bit (gemm.cc); the pool may run them in any order on any thread, so no result depends on the
// number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace tessera::cpu {

inline constexpr int64_t kTaskElements = 16384;  // about 5-20 us of work a task

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Runs body(context, task) for every task in [0, tasks), on the caller and the pool's threads.
// Nested calls, and calls while another thread holds the pool, run in the caller. An exception
// from a task is thrown again here after all tasks ended.
void run_tasks(int64_t tasks, void (*body)(void* context, int64_t task), void* context);

// body(task) for task in [0, tasks).
template <class Body>
void parallel_tasks(int64_t tasks, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  run_tasks(
      tasks, [](void* context, int64_t task) { (*static_cast<Plain*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// body(begin, end) over [0, n) in pieces of `grain` (the last may be shorter).
template <class Body>
void parallel_ranges(int64_t n, int64_t grain, Body&& body) {
  grain = std::max<int64_t>(grain, 1);
  parallel_tasks(ceil_div(n, grain),
                 [&](int64_t task) { body(task * grain, std::min(n, (task + 1) * grain)); });
}

// oneDNN, called from this thread, starts no threads of its own: those that call it are ours.
void keep_onednn_on_this_thread();

// A 64-byte aligned buffer of at least `bytes` that belongs to the calling thread, reused between
// kernels. One kernel may hold several at once under different slots (0 .. 7), which it names in an
// enum Slot.
void* thread_scratch(int slot, int64_t bytes);
size_t scratch_bytes();  // of all threads
template <class T>
T* thread_scratch(int slot, int64_t count) {
  return static_cast<T*>(thread_scratch(slot, count * static_cast<int64_t>(sizeof(T))));
}

}  // namespace tessera::cpu
