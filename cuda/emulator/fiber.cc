// Stacks and the switch between them.
// swapcontext would do, but it asks the kernel for the signal mask each time: 300 ns where these
// few instructions take 3, and a reduction over a block switches thousands of times.
#include "cuda/emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>

#include "engine/error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a function must preserve and the stack pointer, and goes on where the
// other stack was left.
extern "C" void tessera_switch_stack(void** save, void* to);
asm(R"(
.text
.globl tessera_switch_stack
.hidden tessera_switch_stack
.type tessera_switch_stack, @function
tessera_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tessera_switch_stack, .-tessera_switch_stack
)");

namespace tessera::cuda::emulator {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kStack = 256 << 10;  // touched as far as it is used; the lowest page is a guard

thread_local Fiber* running = nullptr;

void start_switch(void** fake, const void* bottom, size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(fake, bottom, size);
#else
  (void)fake, (void)bottom, (void)size;
#endif
}

void finish_switch(void* fake, const void** bottom, size_t* size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake, bottom, size);
#else
  (void)fake, (void)bottom, (void)size;
#endif
}

}  // namespace

Fiber::Fiber(void (*body)(void*), void* context) : body_(body), context_(context) {
  void* memory = ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TESSERA_CHECK(memory != MAP_FAILED, "[emulator] no memory for a stack");
  ::mprotect(memory, kPage, PROT_NONE);
  stack_ = static_cast<char*>(memory);
  // What the first switch takes off: six registers and where to return to, with the stack aligned
  // as at the entry of a function.
  auto* top = reinterpret_cast<uint64_t*>(stack_ + kStack);
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(&Fiber::enter);
  for (int i = 0; i < 6; ++i) *--top = 0;
  own_ = top;
}

Fiber* Fiber::current() { return running; }

Fiber::~Fiber() { ::munmap(stack_, kStack); }

void Fiber::enter() {
  Fiber* self = running;
  finish_switch(nullptr, &self->caller_stack_, &self->caller_size_);
  self->body_(self->context_);
  __builtin_trap();  // the body returned
}

void Fiber::resume() {
  Fiber* before = running;
  running = this;
  void* fake = nullptr;
  start_switch(&fake, stack_, kStack);
  tessera_switch_stack(&caller_, own_);
  finish_switch(fake, nullptr, nullptr);
  running = before;
}

void Fiber::suspend() {
  Fiber* self = running;
  start_switch(&self->own_fake_, self->caller_stack_, self->caller_size_);
  tessera_switch_stack(&self->own_, self->caller_);
  finish_switch(self->own_fake_, &self->caller_stack_, &self->caller_size_);
}

}  // namespace tessera::cuda::emulator
