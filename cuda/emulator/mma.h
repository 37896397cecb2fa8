// ldmatrix, mma.sync.m16n8k16 and cp.async on the host: the lanes exchange their registers and each
// computes its own part.
// Rule: fragments by lane as in the PTX ISA ("Matrix Fragments for mma.m16n8k16"); sums are f32,
// the sixteen products in order (a GPU's order is its own).
#pragma once

#include <array>

#include "cuda/convert.cuh"
#include "cuda/emulator/emulator.h"

namespace tessera::cuda::emulator {

// Eight numbers of 16 bits: a row of the 8 x 8 matrices that ldmatrix reads.
struct alignas(16) Piece {
  uint32_t pair[4];  // the even one in the lower half
};

using Lanes = std::array<uint64_t, 32>;

inline Lanes exchange_all(const char* what, uint64_t value) {
  const uint64_t* all = exchange(what, 0xffffffffu, value);
  Lanes lanes;
  for (size_t i = 0; i < 32; ++i) lanes[i] = all[i];
  return lanes;
}

inline uint16_t half_of(uint32_t pair, int which) {
  return static_cast<uint16_t>(pair >> (16 * which));
}

// ldmatrix.x4: lane l names row l % 8 of matrix l / 8; a lane gets from each of the four matrices
// two neighbours of row lane / 4, or of that column if transposed.
inline std::array<uint32_t, 4> load_matrices(const Shared<Piece>& memory, int64_t piece,
                                             bool transposed) {
  const Lanes rows = exchange_all("ldmatrix", static_cast<uint64_t>(piece));
  const int group = lane() / 4, pair = lane() % 4;
  const auto row = [&](int matrix, int r) -> Piece {
    return memory[static_cast<int64_t>(rows[static_cast<size_t>(8 * matrix + r)])];
  };
  std::array<uint32_t, 4> out;
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint32_t& x = out[static_cast<size_t>(matrix)];
    if (transposed) {
      const auto element = [&](int r) {
        return uint32_t{half_of(row(matrix, r).pair[group / 2], group % 2)};
      };
      x = element(2 * pair) | element(2 * pair + 1) << 16;
    } else {
      x = row(matrix, group).pair[pair];
    }
  }
  return out;
}

// mma.sync.m16n8k16: c += a b, a (16, 16) by rows, b (16, 8) by columns. A lane's c is at
// (lane / 4, 2 (lane % 4) + {0, 1}) and eight rows below.
template <class T>
void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const auto join = [](uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; };
  const Lanes left = exchange_all("mma", join(a[0], a[1]));  // columns 0 .. 7: rows g and g + 8
  const Lanes right = exchange_all("mma", join(a[2], a[3]));
  const Lanes b = exchange_all("mma", join(b0, b1));
  const auto number = [](const Lanes& lanes, int group, int upper, int k) {
    const uint64_t both = lanes[static_cast<size_t>(4 * group + k % 8 / 2)];
    T x;
    x.bits = half_of(static_cast<uint32_t>(both >> (32 * upper)), k % 2);
    return convert_to<float>(x);
  };
  for (int e = 0; e < 4; ++e) {
    for (int k = 0; k < 16; ++k) {
      const float x = number(k < 8 ? left : right, lane() / 4, e / 2, k);
      c[e] += x * number(b, 2 * (lane() % 4) + e % 2, k / 8, k);
    }
  }
}

}  // namespace tessera::cuda::emulator
