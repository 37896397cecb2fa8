// How a kernel is written and started, on a GPU (nvcc) or on the emulator (g++), from one source.
// Rule: kernels start through launch() alone, and shared memory comes from shared_array() and
// dynamic_shared() alone: the emulator checks both. A block has a multiple of 32 threads, and every
// thread of a warp takes part in its shuffles and votes.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "cuda/emulator/emulator.h"
#include "cuda/emulator/queue.h"
#endif

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "cuda/runtime.h"
#include "engine/error.h"

namespace tessera::cuda {

// Unrolls the loop that follows, so that what it reads is under way at once, in registers. nvcc
// does so by itself where no iteration is left out.
#ifdef __CUDACC__
#define TESSERA_UNROLL _Pragma("unroll")
#else
#define TESSERA_UNROLL
#endif

inline constexpr int kWarp = 32;
inline constexpr unsigned kWholeWarp = 0xffffffffu;

// A block has this much shared memory, static and dynamic together; more must be asked for.
inline constexpr size_t kUnaskedShared = 48 << 10;
// What launch() leaves for the static arrays of a kernel that has dynamic memory, too: it does not
// know them. attention.cu's are the largest, 2 KB.
inline constexpr size_t kStaticShared = 16 << 10;

// Blocks in three dimensions.
struct Blocks {
  int64_t x = 1, y = 1, z = 1;
};

// How many blocks, and where in the source the launch stands, for errors: one for more blocks than
// a device takes.
struct Grid {
  // Conversions on purpose: launch(kernel, blocks, ...) and launch(kernel, Blocks{x, y}, ...).
  Grid(int64_t blocks, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : Grid(Blocks{blocks}, file, line) {}
  Grid(Blocks count, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : blocks(static_cast<unsigned>(count.x), static_cast<unsigned>(count.y),
               static_cast<unsigned>(count.z)),
        file(file),
        line(line) {
    constexpr int64_t kMostX = (int64_t{1} << 31) - 1, kMost = 65535;
    TESSERA_CHECK(count.x >= 0 && count.x <= kMostX && count.y >= 0 && count.y <= kMost &&
                      count.z >= 0 && count.z <= kMost,
                  "[cuda] {}:{}: a grid of ({}, {}, {}) blocks", file, line, count.x, count.y,
                  count.z);
  }

  bool empty() const { return blocks.x == 0 || blocks.y == 0 || blocks.z == 0; }

  dim3 blocks;
  const char* file;
  int line;
};

// Queues kernel<<<grid, block, shared_bytes, stream>>>(arguments...). An empty grid is no launch.
// An Error when the device refuses it; what goes wrong inside comes out at the next synchronize.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, int block, size_t shared_bytes,
            Stream stream, Arguments&&... arguments) {
  if (grid.empty()) return;
  const bool asks = shared_bytes + kStaticShared > kUnaskedShared;
#ifdef __CUDACC__
  if (asks) {
    check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(shared_bytes)),
                 grid.file, grid.line);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = dim3(static_cast<unsigned>(block));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check_launch(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), grid.file, grid.line);
#else
  (void)stream;
  const size_t most = asks ? most_shared_bytes() : kUnaskedShared;
  const emulator::Shape shape{grid.blocks, block, shared_bytes, most, grid.file, grid.line};
  const std::tuple<Parameters...> values(arguments...);
  emulator::queue(
      [shape, kernel, values] { emulator::run(shape, [&] { std::apply(kernel, values); }); });
#endif
}

#ifdef __CUDACC__

// A piece of the block's shared memory; on the emulator its [] checks bounds, reads of what nobody
// wrote and races between threads.
template <class T>
class Shared {
 public:
  __device__ explicit Shared(T* data) : data_(data) {}
  __device__ T& operator[](int64_t i) const { return data_[i]; }
  // The memory itself, for instructions that want an address: unchecked.
  __device__ T* data() const { return data_; }

 private:
  T* data_;
};

// kCount elements, the same for all threads of the block. Two arrays of one type and size in one
// kernel differ in kWhich.
template <class T, int kCount, int kWhich = 0>
__device__ Shared<T> shared_array() {
  __shared__ __align__(16) T memory[kCount];
  return Shared<T>(memory);
}

// The launch's shared_bytes from `byte` on, a multiple of T's alignment.
template <class T>
__device__ Shared<T> dynamic_shared(size_t byte = 0) {
  extern __shared__ __align__(16) unsigned char tessera_dynamic_shared[];
  return Shared<T>(reinterpret_cast<T*>(tessera_dynamic_shared + byte));
}

#else

using emulator::dynamic_shared;
using emulator::Shared;
using emulator::shared_array;

#endif

}  // namespace tessera::cuda
