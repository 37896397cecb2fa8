// The emulator keeps CUDA's promises, and says what breaks CUDA's rules: each planted mistake must
// end in an Error that names it.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

#include "cuda/launch.h"
#include "cuda/transfer.h"

namespace tessera::cuda {
namespace {

// Before anything is allocated; the programs that are started inherit it.
const bool kDeviceIsClosed = setenv("TESSERA_CLOSED_DEVICE", "1", 1) == 0;

using Catch::Contains;

// What a launch of one block says; empty when it runs through.
template <class... Parameters, class... Arguments>
std::string complaint(void (*kernel)(Parameters...), int threads, Arguments... arguments) {
  try {
    launch(kernel, 1, threads, 256, stream(), arguments...);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

__global__ void number_threads(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  out[block * blockDim.x + threadIdx.x] += static_cast<int>(block * 100 + threadIdx.x);
}

TEST_CASE("every thread of every block runs once") {
  std::vector<int> out(static_cast<size_t>(2 * 3 * 4 * 64), 0);
  launch(number_threads, Blocks{2, 3, 4}, 64, 0, stream(), out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    CHECK(out[i] == static_cast<int>(i / 64 * 100 + i % 64));
  }
  launch(number_threads, 0, 64, 0, stream(), nullptr);  // nothing to do
}

// Sums 0 .. threads - 1 in a tree over shared memory.
__global__ void tree_sum(int* out) {
  const Shared<int> value = dynamic_shared<int>();
  const int self = static_cast<int>(threadIdx.x);
  value[self] = self;
  for (int width = static_cast<int>(blockDim.x) / 2; width > 0; width /= 2) {
    __syncthreads();
    if (self < width) value[self] += static_cast<int>(value[self + width]);
  }
  if (self == 0) *out = value[0];
}

TEST_CASE("barriers order shared memory") {
  int sum = 0;
  launch(tree_sum, 3, 64, 64 * sizeof(int), stream(), &sum);
  CHECK(sum == 64 * 63 / 2);
}

__global__ void use_warp(double* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  double* own = out + threadIdx.x * 7;
  const double x = threadIdx.x + 0.5;
  own[0] = __shfl_sync(kWholeWarp, x, 5);
  own[1] = __shfl_xor_sync(kWholeWarp, x, 9);
  own[2] = __shfl_up_sync(kWholeWarp, x, 3);
  own[3] = __shfl_down_sync(kWholeWarp, x, 30);
  own[4] = __ballot_sync(kWholeWarp, lane % 3 == 0);
  own[5] = __any_sync(kWholeWarp, lane == 31) + 2 * __any_sync(kWholeWarp, lane > 31);
  own[6] = __all_sync(kWholeWarp, lane < 32) + 2 * __all_sync(kWholeWarp, lane < 31);
}

TEST_CASE("shuffles and votes") {
  std::vector<double> out(64 * 7);
  launch(use_warp, 1, 64, 0, stream(), out.data());
  for (int t = 0; t < 64; ++t) {
    const int first = t / 32 * 32, lane = t % 32;
    const double* own = &out[static_cast<size_t>(t * 7)];
    CHECK(own[0] == first + 5.5);
    CHECK(own[1] == first + (lane ^ 9) + 0.5);
    CHECK(own[2] == (lane < 3 ? t : t - 3) + 0.5);
    CHECK(own[3] == (lane < 2 ? t + 30 : t) + 0.5);
    CHECK(own[4] == 0x49249249u);
    CHECK(own[5] == 1);
    CHECK(own[6] == 1);
  }
}

// `which` plants one mistake.
enum Mistake : int {
  kNone,
  kDivergentBarrier,
  kMissingWarp,
  kEarlyEnd,
  kUnwritten,
  kUnwrittenInNextBlock,
  kOutside,
  kBefore,
  kReadRace,
  kWriteRace,
  kOverwriteRace,
  kWarpRace,
  kDifferentShuffles,
  kPartOfWarp,
};

__global__ void misbehave(int which, int* out) {
  const Shared<int> value = shared_array<int, 64>();
  const int self = static_cast<int>(threadIdx.x), other = self ^ 1, far = self ^ 32;
  if (which == kUnwritten) *out = value[self];
  value[self] = self;
  if (which == kDivergentBarrier && self == 40) __syncwarp();
  if (which == kMissingWarp && self >= 32) return;
  if (which == kEarlyEnd && self == 63) return;
  if (which == kReadRace) *out = value[far];
  if (which == kWriteRace) value[far] = self;
  if (which == kWarpRace) *out = value[other];
  __syncwarp();
  *out = value[other];
  __syncthreads();
  *out = value[far];
  if (which == kOverwriteRace) value[self] = 0;
  if (which == kOutside) value[64] = 0;
  if (which == kBefore) value[-1] = 0;
  if (which == kDifferentShuffles) {
    *out = self % 2 == 0 ? __shfl_sync(kWholeWarp, self, 0) : __any_sync(kWholeWarp, 1);
  }
  if (which == kPartOfWarp) *out = __shfl_sync(0xffffu, self, 0);
}

__global__ void write_in_first_block(int* out) {
  const Shared<int> value = shared_array<int, 1>();
  if (blockIdx.x == 0 && threadIdx.x == 0) value[0] = 1;
  __syncthreads();
  *out = value[0];
}

// Elements of two sizes on the same bytes.
__global__ void overlap(int which, float* out) {
  const Shared<double> wide = dynamic_shared<double>();
  const Shared<float> narrow = dynamic_shared<float>();
  const int self = static_cast<int>(threadIdx.x);
  if (which == kUnwritten) {
    if (self == 0) narrow[0] = 1;
    __syncthreads();
    *out = static_cast<float>(static_cast<double>(wide[0]));
  }
  if (which == kWriteRace) {
    if (self == 0) wide[0] = 1;
    if (self == 1) narrow[1] = 1;
  }
  if (which == kReadRace) {
    if (self == 0) wide[0] = 1;
    if (self == 1) *out = narrow[1];
  }
  if (which == kNone) {
    narrow[self] = 1;  // neighbours share eight bytes
    __syncthreads();
    *out = static_cast<float>(static_cast<double>(wide[self / 2]));
  }
}

TEST_CASE("every byte of an element is watched") {
  float sink = 0;
  const auto words = [&](int which) { return complaint(overlap, 32, which, &sink); };
  CHECK(words(kNone) == "");
  CHECK_THAT(words(kUnwritten), Contains("reads byte 4 ") && Contains("nobody has written"));
  CHECK_THAT(words(kWriteRace), Contains("writes byte 4 ") && Contains("thread 0 wrote"));
  CHECK_THAT(words(kReadRace), Contains("reads byte 4 ") && Contains("no barrier between"));
}

// Each warp uses its own place again and again, with warp barriers alone.
__global__ void reuse_in_warp(int* out) {
  const Shared<int> value = shared_array<int, 2>();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  int sum = 0;
  for (int turn = 0; turn < 3; ++turn) {
    if (lane == turn) value[warp] = turn + 1;
    __syncwarp();
    sum += value[warp];
    __syncwarp();
  }
  out[threadIdx.x] = sum;
}

TEST_CASE("warp barriers order what a warp does alone") {
  std::vector<int> out(64);
  launch(reuse_in_warp, 1, 64, 0, stream(), out.data());
  CHECK(out == std::vector<int>(64, 6));
}

TEST_CASE("what CUDA leaves undefined is an error") {
  int sink = 0;
  const auto words = [&](int which) { return complaint(misbehave, 64, which, &sink); };
  CHECK(words(kNone) == "");
  CHECK_THAT(words(kDivergentBarrier), Contains("__syncthreads") && Contains("__syncwarp"));
  CHECK_THAT(words(kMissingWarp), Contains("have ended") || Contains("has ended"));
  CHECK_THAT(words(kEarlyEnd), Contains("has ended"));
  CHECK_THAT(words(kUnwritten), Contains("nobody has written"));
  CHECK_THAT(words(kOutside), Contains("bytes 256..260 of 256"));
  CHECK_THAT(words(kBefore), Contains("bytes -4..0 of 256"));
  CHECK_THAT(words(kReadRace), Contains("no barrier between") || Contains("nobody has written"));
  CHECK_THAT(words(kWriteRace), Contains("no barrier between"));
  CHECK_THAT(words(kOverwriteRace), Contains("no barrier between"));
  CHECK_THAT(words(kWarpRace), Contains("no barrier between") || Contains("nobody has written"));
  CHECK_THAT(words(kDifferentShuffles), Contains("__shfl_sync") && Contains("__ballot_sync"));
  CHECK_THAT(words(kPartOfWarp), Contains("less than the warp"));
  CHECK_THAT(words(kReadRace), Contains("emulator_test.cc") && Contains("block (0, 0, 0)"));
  CHECK(words(kNone) == "");  // and the next launch is none the worse
  CHECK_THROWS_WITH(launch(write_in_first_block, 2, 32, 0, stream(), &sink),
                    Contains("block (1, 0, 0)") && Contains("nobody has written"));
  CHECK_THROWS_WITH(launch(tree_sum, 1, 33, 256, stream(), &sink), Contains("33 threads"));
  CHECK_THROWS_WITH(launch(tree_sum, Blocks{1, 70000}, 32, 256, stream(), &sink),
                    Contains("(1, 70000, 1) blocks") && Contains("emulator_test.cc"));
  CHECK_THROWS_WITH(launch(tree_sum, 1, 32, 200000, stream(), &sink), Contains("200000 bytes"));
}

// An array of its own of 20 KB beside what the launch gives it.
__global__ void use_both(int* out) {
  const Shared<int> own = shared_array<int, 5120>();
  const Shared<int> given = dynamic_shared<int>();
  if (threadIdx.x == 0) {
    own[0] = 1;
    given[0] = own[0];
    *out = given[0];
  }
}

TEST_CASE("static and dynamic shared memory count together") {
  int one = 0;
  const auto run = [&](size_t bytes) { launch(use_both, 2, 32, bytes, stream(), &one); };
  run(28 << 10);  // 48 KB need not be asked for
  CHECK(one == 1);
  // launch() asks from 32 KB on, and no array should leave it less.
  CHECK_THROWS_WITH(run(29 << 10), Contains("20480 bytes of static and 29696 of dynamic") &&
                                       Contains("beyond 49152") && Contains("emulator_test.cc"));
  run(40 << 10);
  run(most_shared_bytes() - (20 << 10));
  CHECK_THROWS_WITH(run(most_shared_bytes() - (19 << 10)), Contains("beyond 166912"));
}

// The signal that a process dies of when it does this; 0 when it lives.
template <class Deed>
int death_of(const Deed& deed) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    deed();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_CASE("the host cannot touch the device's memory") {
  int* const sum = static_cast<int*>(device_allocate(sizeof(int)));
  REQUIRE(sum != nullptr);
  int host = 0;
  copy_from_host(sum, &host, sizeof(int));
  launch(tree_sum, 1, 32, 32 * sizeof(int), stream(), sum);
  copy_to_host(&host, sum, sizeof(int));
  CHECK(host == 32 * 31 / 2);
  volatile int* const touched = sum;
  REQUIRE(kDeviceIsClosed);
  CHECK(death_of([&] { host = *touched; }) == SIGSEGV);
  CHECK(death_of([&] { *touched = 1; }) == SIGSEGV);
  CHECK(death_of([&] { launch(tree_sum, 1, 32, 32 * sizeof(int), stream(), sum); }) == 0);
  CHECK_THROWS_WITH(launch(tree_sum, 1, 32, 4, stream(), sum), Contains("emulator_test.cc"));
  CHECK(death_of([&] { host = *touched; }) == SIGSEGV);  // a failed launch closes it again
  device_free(sum);
}

TEST_CASE("a loader's copy is late, and sees who changes what is copied") {
  constexpr size_t kCount = 100;
  int* const device = static_cast<int*>(device_allocate(kCount * sizeof(int)));
  std::vector<int> back(kCount);
  const auto read = [&] { copy_to_host(back.data(), device, kCount * sizeof(int)); };
  {
    const auto copy = transfer(device, kCount * sizeof(int));
    int* const host = static_cast<int*>(copy->host());
    std::iota(host, host + kCount, 7);
    CHECK_THROWS_WITH(copy->arrive(), Contains("nobody has begun"));
    copy->send();
    CHECK_THROWS_WITH(copy->send(), Contains("begun twice"));
    read();
    CHECK(back == std::vector<int>(kCount, -1));  // NaN bits
    copy->arrive();
    read();
    CHECK(std::equal(back.begin(), back.end(), host));
  }
  const auto copy = transfer(device, kCount * sizeof(int));
  int* const host = static_cast<int*>(copy->host());
  std::fill_n(host, kCount, 1);
  copy->send();
  host[kCount - 1] = 2;
  CHECK_THROWS_WITH(copy->arrive(), Contains("changed before their copy was done"));
  device_free(device);
}

__global__ void count_down(unsigned long long* least) { atomicMin(least, 100ull + threadIdx.x); }

TEST_CASE("atomics, and blocks of the largest size") {
  unsigned long long least = 1000;
  launch(count_down, 4, 1024, 0, stream(), &least);
  CHECK(least == 100);
  int sum = 0;
  launch(tree_sum, 1, 1024, 1024 * sizeof(int), stream(), &sum);
  CHECK(sum == 1024 * 1023 / 2);
}

}  // namespace
}  // namespace tessera::cuda
