// CUDA on the host: the keywords, the built-in variables, barriers, shuffles, votes and atomics, so
// that g++ compiles the kernels' sources as they are. Threads of a block are fibers, blocks run one
// after another, a launch returns when it is done.
// Rule: stricter than a GPU. What CUDA leaves undefined (a barrier that not all threads reach, a
// shuffle without the whole warp, a race on shared memory) is an Error that names the launch.
// Tensor cores are in mma.h. Not emulated: bulk copies, warps without 32 threads, masks but the
// whole warp's.
#pragma once

#include <math.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>

#include "cuda/emulator/shared.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

inline constinit thread_local uint3 threadIdx, blockIdx;
inline constinit thread_local dim3 blockDim, gridDim;

namespace tessera::cuda::emulator {

struct Shape {
  dim3 grid;
  int block;
  size_t shared_bytes;       // dynamic
  size_t most_shared_bytes;  // with the kernel's own arrays
  const char* file;
  int line;
};

// Calls body() for each thread of each block, with the built-in variables set.
void run(const Shape& shape, const std::function<void()>& body);
uint64_t launches();  // so far, of this process

void block_barrier();
void warp_barrier();
// Leaves a value and waits for the whole warp; returns what each of the 32 lanes left.
const uint64_t* exchange(const char* what, unsigned mask, uint64_t value);

template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
inline int lane() { return static_cast<int>(threadIdx.x % 32); }

}  // namespace tessera::cuda::emulator

inline void __syncthreads() { tessera::cuda::emulator::block_barrier(); }
inline void __syncwarp(unsigned = 0xffffffffu) { tessera::cuda::emulator::warp_barrier(); }

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  namespace e = tessera::cuda::emulator;
  const uint64_t* all = e::exchange("__shfl_sync", mask, e::to_bits(value));
  return e::from_bits<T>(all[e::lane() / width * width + from % width]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance, int width = 32) {
  namespace e = tessera::cuda::emulator;
  const uint64_t* all = e::exchange("__shfl_xor_sync", mask, e::to_bits(value));
  const int from = e::lane() ^ distance;
  return from / width == e::lane() / width ? e::from_bits<T>(all[from]) : value;
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int distance, int width = 32) {
  namespace e = tessera::cuda::emulator;
  const uint64_t* all = e::exchange("__shfl_up_sync", mask, e::to_bits(value));
  return e::lane() % width >= distance ? e::from_bits<T>(all[e::lane() - distance]) : value;
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int distance, int width = 32) {
  namespace e = tessera::cuda::emulator;
  const uint64_t* all = e::exchange("__shfl_down_sync", mask, e::to_bits(value));
  return e::lane() % width + distance < width ? e::from_bits<T>(all[e::lane() + distance]) : value;
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const uint64_t* all = tessera::cuda::emulator::exchange("__ballot_sync", mask, predicate != 0);
  unsigned votes = 0;
  for (int i = 0; i < 32; ++i) votes |= static_cast<unsigned>(all[i]) << i;
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == 0xffffffffu;
}

// Integers only: a floating atomic would make results depend on the order of the threads.
template <class T>
T atomicMin(T* address, T value) {
  static_assert(!std::is_floating_point_v<T>);
  const T old = *address;
  if (value < old) *address = value;
  return old;
}
template <class T>
T atomicExch(T* address, T value) {
  static_assert(!std::is_floating_point_v<T>);
  const T old = *address;
  *address = value;
  return old;
}
