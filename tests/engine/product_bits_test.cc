// The bits of a product follow from its values and its shape alone: not from the threads, nor from
// how operands and result lie in memory. Held for each of the backend's own roads to a product
// ("tessera..."), in every dtype of it. On the CPU; a library on a GPU promises nothing of the
// kind.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

enum class Layout { kPlain, kPadded, kTurned, kTurnedPadded, kSpread };
constexpr Layout kLayouts[] = {Layout::kPlain, Layout::kPadded, Layout::kTurned,
                               Layout::kTurnedPadded, Layout::kSpread};
constexpr const char* kNames[] = {"plain", "padded", "turned", "turned and padded", "spread"};

Tensor random(int64_t rows, int64_t cols, uint32_t site, DType dtype) {
  return raw::to(raw::normal({1, rows, cols}, RandomKey{5, 0, site}, 0, 1), dtype);
}

// The same matrix (1, rows, cols) elsewhere: at an odd offset, in longer rows, in columns, or with
// a gap after every element. NaN lies around it.
Tensor laid_out(const Tensor& matrix, Layout layout) {
  const int64_t rows = matrix.size(1), cols = matrix.size(2);
  if (layout == Layout::kPlain) return matrix;
  const bool turned = layout == Layout::kTurned || layout == Layout::kTurnedPadded;
  const int64_t pad = layout == Layout::kTurned ? 0 : 5, step = layout == Layout::kSpread ? 2 : 1;
  const int64_t lines = turned ? cols : rows, length = turned ? rows : cols;
  const int64_t stride = step * length + pad;
  const Tensor room = Tensor::full({3 + (lines + 1) * stride}, NAN, matrix.dtype());
  const Tensor there =
      room.with_layout(pad == 0 ? 0 : 3, matrix.shape(),
                       turned ? Strides{0, step, stride} : Strides{0, stride, step});
  raw::copy_(there, matrix);
  return there;
}

std::vector<uint8_t> bytes_of(const Tensor& t) {
  const Tensor all = raw::contiguous(t);
  std::vector<uint8_t> bytes(static_cast<size_t>(all.numel()) * size_of(all.dtype()));
  if (!bytes.empty()) std::memcpy(bytes.data(), all.view().data, bytes.size());
  return bytes;
}

// c's own value is `before`; with `wide` it is the middle of longer rows, which must stay as they
// are.
std::vector<uint8_t> product(const GemmImplementation& way, const Tensor& a, const Tensor& b,
                             const Tensor& before, double beta, bool wide) {
  const int64_t m = before.size(1), n = before.size(2), margin = wide ? 3 : 0;
  const Tensor room = Tensor::full({1, m, n + 2 * margin}, 7, before.dtype());
  const Tensor c = raw::slice(room, 2, margin, margin + n);
  raw::copy_(c, before);
  GemmArgs args;
  args.a = a.view();
  args.b = b.view();
  args.c = c.view();
  args.beta = beta;
  way.run(args);
  const std::vector<uint8_t> result = bytes_of(c);
  raw::copy_(c, Tensor::full({1, m, n}, 7, before.dtype()));
  REQUIRE(bytes_of(room) == bytes_of(Tensor::full(room.shape(), 7, before.dtype())));
  return result;
}

struct Size {
  int64_t m, n, k;
};

// Below a kernel's 16 rows and columns, single rows and columns, sums of nothing and of one
// product, depths round oneDNN's cuts of k (384, 768) and of leading dimensions that are powers of
// two; cut into tiles, and along k.
constexpr Size kSizes[] = {{37, 70, 130}, {1, 70, 100},  {70, 1, 100},  {1, 1, 300},   {5, 9, 33},
                           {15, 200, 64}, {200, 3, 513}, {16, 16, 16},  {40, 50, 0},   {1, 1, 0},
                           {33, 20, 1},   {64, 48, 768}, {31, 33, 785}, {48, 48, 4096}};
constexpr Size kLarge = {530, 300, 260};

void check_size(const GemmImplementation& way, DType dtype, DType result, const Size& s) {
  const int threads_before = num_threads();
  const Tensor a = random(s.m, s.k, 1, dtype), b = random(s.k, s.n, 2, dtype);
  const Tensor nothing = Tensor::full({1, s.m, s.n}, NAN, result);
  const Tensor something = random(s.m, s.n, 3, result);
  for (const double beta : {0.0, 1.0}) {
    const Tensor& before = beta == 0 ? nothing : something;  // beta 0 must not read c
    set_num_threads(1);
    const std::vector<uint8_t> want = product(way, a, b, before, beta, false);
    if (s.k == 0) {  // a sum of nothing
      CHECK((want == bytes_of(beta == 0 ? Tensor::zeros(before.shape(), result) : before)));
    }
    for (const Layout left : kLayouts) {
      for (const Layout right : kLayouts) {
        const Tensor at_a = laid_out(a, left), at_b = laid_out(b, right);
        for (int threads = 1; threads <= 3; ++threads) {
          set_num_threads(threads);
          for (const bool wide : {false, true}) {
            INFO(way.name << " " << name_of(dtype) << " to " << name_of(result) << ", " << s.m
                          << " x " << s.n << " x " << s.k << ", beta " << beta << ", a "
                          << kNames[static_cast<int>(left)] << ", b "
                          << kNames[static_cast<int>(right)] << (wide ? ", wide c, " : ", ")
                          << threads << " threads");
            CHECK((product(way, at_a, at_b, before, beta, wide) == want));
          }
        }
      }
    }
  }
  set_num_threads(threads_before);
}

TEST_CASE("the bits of a product do not depend on threads, strides, transposes or offsets") {
  if (default_device() != Device::kCpu) return;
  for (const GemmImplementation& way : backend(Device::kCpu).gemm_implementations()) {
    if (!way.name.starts_with("tessera")) continue;
    for (const DType dtype : way.dtypes) {
      for (const Size& s : kSizes) check_size(way, dtype, dtype, s);
      check_size(way, dtype, dtype, kLarge);
      if (size_of(dtype) > 2) continue;
      for (const Size& s : kSizes) check_size(way, dtype, DType::kF32, s);  // sums land in c itself
    }
  }
}

}  // namespace
}  // namespace tessera
