// A thread of execution with its own stack that runs only when it is resumed and until it suspends.
// Rule: no locks, no preemption, one OS thread; its body never returns, it suspends for good. A
// fiber that is destroyed while suspended in its body runs no destructors of that body.
#pragma once

#include <cstddef>

namespace tessera::cuda::emulator {

class Fiber {
 public:
  Fiber(void (*body)(void*), void* context);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();            // until the body suspends
  static void suspend();    // from inside: back to whoever resumed
  static Fiber* current();  // nullptr outside of all

 private:
  static void enter();

  void (*body_)(void*);
  void* context_;
  char* stack_;             // the lowest address
  void* own_ = nullptr;     // saved stack pointers
  void* caller_ = nullptr;  //
  // What the address sanitizer wants to know about both stacks.
  void* own_fake_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_size_ = 0;
};

}  // namespace tessera::cuda::emulator
