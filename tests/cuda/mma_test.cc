// The emulator's tensor core: 16 x 16 x 16 products of distinct integers, exact in f32, with the
// right operand read by rows and by columns; and what breaks the instruction's rules.
#include "cuda/mma.cuh"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::cuda {
namespace {

constexpr int kSide = 16, kPieces = 2, kStride = kPieces + 1;  // a row takes a piece more

// Rows of 16 to shared memory, from row `first` on; a lane each piece.
template <class T>
void put(const Shared<Piece>& memory, int first, const float* values) {
  const int lane = static_cast<int>(threadIdx.x), row = lane / kPieces, at = lane % kPieces * 8;
  Piece piece = {};
  for (int pair = 0; pair < 4; ++pair) {
    const float* x = values + row * kSide + at + 2 * pair;
    piece.pair[pair] = pack<T>(x[0], x[1]);
  }
  memory[(first + row) * kStride + lane % kPieces] = piece;
}

// by_rows = a b^T and by_columns = a b, all (16, 16).
template <class T>
__global__ void multiply(const float* a, const float* b, float* by_rows, float* by_columns) {
  const Shared<Piece> memory = shared_array<Piece, 2 * kSide * kStride>();
  put<T>(memory, 0, a);
  put<T>(memory, kSide, b);
  __syncwarp();
  const Block<T> left = load_block<false, T>(memory, 0, kStride);
  Sums rows[2] = {}, columns[2] = {};
  const int second = kSide * kStride;
  multiply_by_rows(rows[0], rows[1], left, load_block<false, T>(memory, second, kStride));
  multiply_by_columns(columns[0], columns[1], left, load_block<true, T>(memory, second, kStride));
  for (int half = 0; half < 2; ++half) {
    for (int e = 0; e < 4; ++e) {
      const int at = sums_row(e) * kSide + 8 * half + sums_column(e);
      by_rows[at] = rows[half].x[e];
      by_columns[at] = columns[half].x[e];
    }
  }
}

TEMPLATE_TEST_CASE("products of distinct integers", "", Half, BFloat16) {
  std::vector<float> a, b;
  for (int i = 0; i < kSide * kSide; ++i) {
    a.push_back(static_cast<float>(i));  // up to 256 a bf16 is exact
    b.push_back(static_cast<float>(-256 + (i * 77 + 1) % 256));
  }
  std::vector<float> rows(a.size()), columns(a.size());
  launch(multiply<TestType>, 1, 32, 0, stream(), a.data(), b.data(), rows.data(), columns.data());
  const auto at = [](int i, int j) { return static_cast<size_t>(i * kSide + j); };
  for (int i = 0; i < kSide; ++i) {
    for (int j = 0; j < kSide; ++j) {
      float by_rows = 0, by_columns = 0;
      for (int k = 0; k < kSide; ++k) {
        by_rows += a[at(i, k)] * b[at(j, k)];
        by_columns += a[at(i, k)] * b[at(k, j)];
      }
      CHECK(rows[at(i, j)] == by_rows);
      CHECK(columns[at(i, j)] == by_columns);
    }
  }
}

// What a product gave is the next one's left operand: (1 a) taken as a block, times 1.
template <class T>
__global__ void chain(const float* unit, const float* a, float* out) {
  const Shared<Piece> memory = shared_array<Piece, 2 * kSide * kStride>();
  put<T>(memory, 0, unit);
  put<T>(memory, kSide, a);
  __syncwarp();
  const Block<T> one = load_block<false, T>(memory, 0, kStride);
  const Block<T> right = load_block<true, T>(memory, kSide * kStride, kStride);
  Sums same[2] = {}, again[2] = {};
  multiply_by_columns(same[0], same[1], one, right);
  multiply_by_rows(again[0], again[1], as_block<T>(same[0], same[1]), one);
  for (int half = 0; half < 2; ++half) {
    for (int e = 0; e < 4; ++e) {
      out[sums_row(e) * kSide + 8 * half + sums_column(e)] = again[half].x[e];
    }
  }
}

TEMPLATE_TEST_CASE("sums become an operand", "", Half, BFloat16) {
  std::vector<float> unit(kSide * kSide, 0), a, out(kSide * kSide);
  for (int i = 0; i < kSide * kSide; ++i) a.push_back(static_cast<float>(i));
  for (size_t i = 0; i < kSide; ++i) unit[i * (kSide + 1)] = 1;
  launch(chain<TestType>, 1, 32, 0, stream(), unit.data(), a.data(), out.data());
  CHECK(out == a);
}

// Half of the warp multiplies while the others vote; or a lane reads what nobody wrote.
__global__ void misuse(bool unwritten) {
  const Shared<Piece> memory = shared_array<Piece, kSide * kStride>();
  if (unwritten) load_block<false, Half>(memory, 0, kStride);
  if (threadIdx.x < 16) {
    Sums c = {};
    multiply_add(c, Block<Half>{}, 0, 0);
  }
  __any_sync(kWholeWarp, 1);
}

TEST_CASE("a product without the whole warp, and a block that nobody wrote, are errors") {
  using Catch::Contains;
  CHECK_THROWS_WITH(launch(misuse, 1, 32, 0, stream(), false),
                    Contains("mma") && Contains("__ballot_sync"));
  CHECK_THROWS_WITH(launch(misuse, 1, 32, 0, stream(), true), Contains("nobody has written"));
}

enum Haste : int { kWaits, kReadsFirst, kWritesOver, kNoBarrier, kNeverWaits };

// Each lane has a piece brought; what it leaves out is CUDA's rule, not the copy's.
__global__ void bring(Haste haste, Piece* from, uint32_t* out) {
  const Shared<Piece> memory = shared_array<Piece, 32>();
  const int lane = static_cast<int>(threadIdx.x);
  copy_async(memory, lane, from + lane);
  if (haste == kReadsFirst) *out = static_cast<Piece>(memory[lane]).pair[0];
  if (haste == kWritesOver) memory[lane] = Piece{};
  from[lane].pair[0] = 3;  // on its way it may still change
  if (haste == kNeverWaits) return;
  wait_for_copies();
  if (haste == kNoBarrier && lane == 1) *out = static_cast<Piece>(memory[lane ^ 1]).pair[0];
  __syncwarp();
  out[lane] = static_cast<Piece>(memory[lane ^ 1]).pair[0];
}

TEST_CASE("an asynchronous copy is there when it was waited for, and not before") {
  using Catch::Contains;
  std::vector<Piece> from(32);
  std::vector<uint32_t> out(32);
  const auto run = [&](Haste haste) {
    launch(bring, 1, 32, 0, stream(), haste, from.data(), out.data());
  };
  run(kWaits);
  CHECK(out == std::vector<uint32_t>(32, 3));
  CHECK_THROWS_WITH(run(kReadsFirst), Contains("reads byte 0 ") && Contains("not been waited for"));
  CHECK_THROWS_WITH(run(kWritesOver),
                    Contains("writes byte 0 ") && Contains("not been waited for"));
  CHECK_THROWS_WITH(run(kNoBarrier), Contains("thread 1 reads byte 0 ") && Contains("no barrier"));
  CHECK_THROWS_WITH(run(kNeverWaits), Contains("without having waited for its copies"));
  run(kWaits);
}

}  // namespace
}  // namespace tessera::cuda
