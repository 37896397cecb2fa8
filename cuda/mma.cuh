// Products of 16-bit matrices by the 32 lanes of a warp: ldmatrix, mma.sync.m16n8k16 with f32 sums
// and cp.async, for sm_80 and later; on the emulator the same by exchanging registers.
// Rule: a lane's registers hold what the PTX ISA says ("Matrix Fragments for mma.m16n8k16"); every
// lane of the warp calls, with the same sizes. Matrices lie in shared memory in pieces of 16 bytes.
#pragma once

#include "cuda/convert.cuh"
#ifndef __CUDACC__
#include "cuda/emulator/mma.h"
#endif

namespace tessera::cuda {

#ifdef __CUDACC__
// Eight numbers of 16 bits: what ldmatrix and cp.async move at once.
struct alignas(16) Piece {
  uint32_t pair[4];  // the even one in the lower half
};
#else
using emulator::Piece;
#endif

// 16 x 16 of T, as four 8 x 8 matrices: upper left, lower left, upper right, lower right. A lane
// has elements 2 (lane % 4) and the next of row lane / 4 of each.
template <class T>
struct Block {
  uint32_t x[4];
};

// 16 x 8 in f32. A lane has x[e] at row sums_row(e), column sums_column(e).
struct Sums {
  float x[4];
};
__device__ inline int sums_row(int e) {
  return static_cast<int>(threadIdx.x % kWarp) / 4 + e / 2 * 8;
}
__device__ inline int sums_column(int e) {
  return static_cast<int>(threadIdx.x % kWarp) % 4 * 2 + e % 2;
}

// Two neighbours, rounded to nearest even.
template <class T>
__device__ uint32_t pack(float even, float odd) {
#ifdef __CUDA_ARCH__
  uint32_t pair;
  if constexpr (std::is_same_v<T, Half>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(odd), "f"(even));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(odd), "f"(even));
  }
  return pair;
#else
  return uint32_t{convert_to<T>(even).bits} | uint32_t{convert_to<T>(odd).bits} << 16;
#endif
}

// Number `which`, 0 or 1, of a pair.
template <class T>
__device__ float unpack(uint32_t pair, int which) {
  T x;
  x.bits = static_cast<uint16_t>(pair >> (16 * which));
  return convert_to<float>(x);
}

// What a product gave, side by side, as the left operand of the next.
template <class T>
__device__ Block<T> as_block(const Sums& left, const Sums& right) {
  return {{pack<T>(left.x[0], left.x[1]), pack<T>(left.x[2], left.x[3]),
           pack<T>(right.x[0], right.x[1]), pack<T>(right.x[2], right.x[3])}};
}

#ifdef __CUDACC__
// As instructions for shared memory want it: 32 bits, the array's own and a product.
__device__ inline unsigned shared_address(const Shared<Piece>& memory, int piece) {
  const auto first = static_cast<unsigned>(__cvta_generic_to_shared(memory.data()));
  return first + static_cast<unsigned>(piece) * static_cast<unsigned>(sizeof(Piece));
}
#endif

// Reads the block whose upper left piece is `first`, its rows `stride` pieces apart; kTransposed:
// each of its four matrices turned.
template <bool kTransposed, class T>
__device__ Block<T> load_block(const Shared<Piece>& memory, int first, int stride) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int own = first + lane % 16 * stride + lane / 16;  // the row this lane names
  Block<T> block;
#ifdef __CUDA_ARCH__
  const unsigned address = shared_address(memory, own);
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(block.x[0]), "=r"(block.x[1]), "=r"(block.x[2]), "=r"(block.x[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(block.x[0]), "=r"(block.x[1]), "=r"(block.x[2]), "=r"(block.x[3])
                 : "r"(address)
                 : "memory");
  }
#elif !defined(__CUDACC__)
  const auto matrices = emulator::load_matrices(memory, own, kTransposed);
  for (size_t i = 0; i < 4; ++i) block.x[i] = matrices[i];
#endif
  return block;
}

// c (16, 8) += a (16, 16) b (16, 8); a lane's b0 is at rows 2 (lane % 4) and the next of column
// lane / 4, b1 eight rows below.
template <class T>
__device__ void multiply_add(Sums& c, const Block<T>& a, uint32_t b0, uint32_t b1) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, Half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b0), "r"(b1));
  }
#elif !defined(__CUDACC__)
  emulator::multiply_add<T>(c.x, a.x, b0, b1);
#endif
}

// (left, right) (16, 16) += a b^T, with b as load_block<false> reads it.
template <class T>
__device__ void multiply_by_rows(Sums& left, Sums& right, const Block<T>& a, const Block<T>& b) {
  multiply_add(left, a, b.x[0], b.x[2]);
  multiply_add(right, a, b.x[1], b.x[3]);
}
// (left, right) (16, 16) += a b, with b as load_block<true> reads it.
template <class T>
__device__ void multiply_by_columns(Sums& left, Sums& right, const Block<T>& a, const Block<T>& b) {
  multiply_add(left, a, b.x[0], b.x[1]);
  multiply_add(right, a, b.x[2], b.x[3]);
}

// Brings the piece at `from`, 16-byte aligned global memory, to memory[at] without waiting for it.
__device__ inline void copy_async(const Shared<Piece>& memory, int at, const void* from) {
#ifdef __CUDA_ARCH__
  const unsigned address = shared_address(memory, at);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#elif !defined(__CUDACC__)
  memory.copy_later(at, from);
#endif
}
// Waits for the copies of this thread; a barrier shows them to the others.
__device__ inline void wait_for_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_all;" ::: "memory");
#elif !defined(__CUDACC__)
  emulator::finish_copies();
#endif
}

}  // namespace tessera::cuda
