// Products of any floating dtype, strides and batch: a grid of tiles, one `multiply` each.
// Rule: a tile is computed by one thread from start to end, and no result depends on the number of
// threads: what is cut along k, or goes to a library whose sums depend on the tile, is cut by its
// shape alone; other tiles may follow the threads.
#include <algorithm>
#include <functional>
#include <numeric>

#include "cpu/kernels.h"
#include "cpu/multiply.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

enum Slot { kLeft, kRight, kProduct, kBias, kPartial, kRow };

// n cut into pieces whose borders are multiples of 16 (the width of oneDNN's kernels).
struct Cut {
  int64_t n, pieces;
  int64_t border(int64_t i) const { return std::min(n, i * ceil_div(n, 16) / pieces * 16); }
};

struct Grid {
  Cut rows, cols;
  int64_t parts;  // of k, summed in order at the end
  int64_t tiles() const { return rows.pieces * cols.pieces; }
};

// The shortest side of a piece that a product of this depth is cut into.
constexpr int64_t kShallow = 1536;
int64_t least_side(int64_t k) { return k < kShallow ? 64 : 192; }

// Tiles of at most 400 x 768, an even number and at least four of them where the product is worth
// it. Share of one whole dnnl_sgemm's speed on one core of an Emerald Rapids (150-175 GFLOP/s), for
// the 78 products of ViT-B (8 images), its MAE decoder and ViT-tiny (128 images):
//   128 x 4096  0.80-1.00 (forward repacks w for every tile)   256 x 256  0.75-0.98
//   400 x 768   0.89-1.00 (least: wgrad of 3072 columns)        784 x 768  0.95-1.00
// With two threads 400 x 768 gives 1.75-2.05 times the one whole call, 1.9 or more for most.
// A weight gradient that is small and deep is cut along k instead: (96, 96, 8320) gives 157 in
// parts, 142 in tiles of 96 x 48, 108 in tiles of 48 x 48.
Grid choose_grid(int64_t batch, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kRows = 400, kCols = 768, kTiles = 4;
  constexpr double kWorthCutting = 4e6;  // multiplications; about 50 us
  Grid grid{{m, ceil_div(m, kRows)}, {n, ceil_div(n, kCols)}, 1};
  if (static_cast<double>(batch * m * n) * static_cast<double>(k) < kWorthCutting) return grid;
  const auto enough = [&] {
    return batch * grid.tiles() >= kTiles && batch * grid.tiles() % 2 == 0;
  };
  const auto cut_longer = [&](int64_t least) {
    const int64_t rows = m / grid.rows.pieces, cols = n / grid.cols.pieces;
    if (std::max(rows, cols) < 2 * least) return false;
    ++(rows >= cols ? grid.rows : grid.cols).pieces;
    return true;
  };
  while (!enough() && cut_longer(least_side(k))) {
  }
  if (batch * grid.tiles() < kTiles && k >= kShallow) {
    grid.parts = std::min<int64_t>(8, k / 1024 * 2);
  }
  return grid;
}

// One strip of the longer side for each thread, where f32 sums land in c itself. oneDNN packs an
// operand anew for every tile, a tenth of the time of wgrad's, and so wide tiles are fast; where a
// bias is added to a tile, or it is rounded or widened, small ones are, which stay in the cache.
// Two threads, operands that no cache holds, GFLOP/s in strips and in the tiles of choose_grid:
//   ViT-B, batch 32:  wgrad of fc1 386, 346;  of fc2 396, 371;  dgrad of fc2 404, 375
//   ViT-B, batch 8:   wgrad of fc1 354, 361;  of fc2 363, 351;  dgrad of fc2 350, 361
// Only where the end of a strip changes no bit.
Grid in_strips(const Grid& tiles, int64_t batch, int64_t k) {
  const int64_t m = tiles.rows.n, n = tiles.cols.n;
  const int64_t strips = num_threads() / std::gcd(batch, int64_t{num_threads()});
  const bool too_small = tiles.tiles() == 1 || std::max(m, n) / strips < least_side(k);
  if (!order_is_fixed() || tiles.parts > 1 || too_small) return tiles;
  return m >= n ? Grid{{m, strips}, {n, 1}, 1} : Grid{{m, 1}, {n, strips}, 1};
}

// A (rows, cols) piece of an operand as C, read in place where it is that already.
template <class C>
Matrix<C> widened(const void* data, DType dtype, int64_t row, int64_t col, int64_t rows,
                  int64_t cols, int slot) {
  if (dtype == DTypeOf<C>::value) return {static_cast<const C*>(data), row, col};
  const bool by_column = row == 1 && col != 1;
  const int64_t lines = by_column ? cols : rows, length = by_column ? rows : cols;
  C* out = thread_scratch<C>(slot, rows * cols);
  for (int64_t i = 0; i < lines; ++i) {
    const char* line = static_cast<const char*>(data) +
                       i * (by_column ? col : row) * static_cast<int64_t>(size_of(dtype));
    gather_elements(line, dtype, by_column ? row : col, length, out + i * length);
  }
  return by_column ? Matrix<C>{out, 1, rows} : Matrix<C>{out, cols, 1};
}

void* at(const View& v, int64_t b, int64_t i, int64_t j) {
  return static_cast<char*>(v.data) + (b * v.stride[0] + i * v.stride[1] + j * v.stride[2]) *
                                          static_cast<int64_t>(size_of(v.dtype));
}

struct Tile {
  int64_t b, i0, i1, j0, j1;
  int64_t rows() const { return i1 - i0; }
  int64_t cols() const { return j1 - j0; }
};

// A product and how its bf16 operands are multiplied: by the processor's own instructions or in
// f32.
struct Job {
  const GemmArgs& args;
  bool own_bf16;
};

// a b of one tile over [k0, k1), into out or on top of it.
template <class C>
void multiply_tile(const Job& job, const Tile& t, int64_t k0, int64_t k1, bool accumulate, C* out,
                   int64_t stride) {
  const View &a = job.args.a, &b = job.args.b;
  const int64_t m = t.rows(), n = t.cols(), k = k1 - k0;
  if constexpr (std::is_same_v<C, float>) {
    if (job.own_bf16 && a.dtype == DType::kBF16) {
      multiply_bf16(m, n, k,
                    {static_cast<const BFloat16*>(at(a, t.b, t.i0, k0)), a.stride[1], a.stride[2]},
                    {static_cast<const BFloat16*>(at(b, t.b, k0, t.j0)), b.stride[1], b.stride[2]},
                    accumulate, out, stride);
      return;
    }
  }
  const Matrix<C> left =
      widened<C>(at(a, t.b, t.i0, k0), a.dtype, a.stride[1], a.stride[2], m, k, kLeft);
  const Matrix<C> right =
      widened<C>(at(b, t.b, k0, t.j0), b.dtype, b.stride[1], b.stride[2], k, n, kRight);
  multiply(m, n, k, left, right, accumulate, out, stride);
}

// The bias of a tile's columns as C, or nullptr.
template <class C>
const C* read_bias(const View& bias, const Tile& t) {
  if (bias.data == nullptr) return nullptr;
  C* out = thread_scratch<C>(kBias, t.cols());
  const char* from =
      bias.as<const char>() + t.j0 * bias.stride[0] * static_cast<int64_t>(size_of(bias.dtype));
  gather_elements(from, bias.dtype, bias.stride[0], t.cols(), out);
  return out;
}

// c = alpha product + beta c + bias over a tile whose product lies in scratch, while it is hot.
template <class C>
void finish_tile(const GemmArgs& args, const Tile& t, const C* product, int64_t stride) {
  const C alpha = static_cast<C>(args.alpha), beta = static_cast<C>(args.beta);
  const C* bias = read_bias<C>(args.bias, t);
  const int64_t n = t.cols();
  C* row = thread_scratch<C>(kRow, n);
  for (int64_t i = 0; i < t.rows(); ++i, product += stride) {
    void* c = at(args.c, t.b, t.i0 + i, t.j0);
    if (beta == C(0)) {
      for (int64_t j = 0; j < n; ++j) row[j] = alpha * product[j];
    } else {
      gather_elements(c, args.c.dtype, 1, n, row);
      for (int64_t j = 0; j < n; ++j) row[j] = alpha * product[j] + beta * row[j];
    }
    if (bias != nullptr) {
      for (int64_t j = 0; j < n; ++j) row[j] += bias[j];
    }
    scatter_elements(row, n, c, args.c.dtype, 1);
  }
}

// Whether sums may land in c, on top of what is there when beta is 1.
bool is_plain(const GemmArgs& args) {
  return args.alpha == 1 && (args.beta == 0 || args.beta == 1);
}

template <class C>
void compute_tile(const Job& job, const Tile& t) {
  const GemmArgs& args = job.args;
  const int64_t k = args.a.shape[2];
  if (args.c.dtype != DTypeOf<C>::value || !is_plain(args)) {
    C* product = thread_scratch<C>(kProduct, t.rows() * t.cols());
    multiply_tile(job, t, 0, k, false, product, t.cols());
    finish_tile(args, t, product, t.cols());
    return;
  }
  C* c = static_cast<C*>(at(args.c, t.b, t.i0, t.j0));
  multiply_tile(job, t, 0, k, args.beta == 1, c, args.c.stride[1]);
  const C* bias = read_bias<C>(args.bias, t);
  if (bias == nullptr) return;
  for (int64_t i = 0; i < t.rows(); ++i, c += args.c.stride[1]) {
    for (int64_t j = 0; j < t.cols(); ++j) c[j] += bias[j];
  }
}

// Each part of k into its own copy of c, then the sum of the copies.
template <class C>
void compute_in_parts(const Job& job, const Grid& grid, int64_t batch,
                      const std::function<Tile(int64_t)>& tile_at) {
  const GemmArgs& args = job.args;
  const int64_t m = grid.rows.n, n = grid.cols.n, k = args.a.shape[2], size = batch * m * n;
  C* partial = thread_scratch<C>(kPartial, grid.parts * size);  // (parts, batch, m, n)
  parallel_tasks(grid.parts * batch * grid.tiles(), [&](int64_t task) {
    const int64_t part = task % grid.parts;
    const Tile t = tile_at(task / grid.parts);
    multiply_tile(job, t, part * k / grid.parts, (part + 1) * k / grid.parts, false,
                  partial + part * size + (t.b * m + t.i0) * n + t.j0, n);
  });
  parallel_rows(batch * m, n, [&](int64_t row) {
    C* sum = partial + row * n;
    for (int64_t part = 1; part < grid.parts; ++part) {
      const C* from = sum + part * size;
      for (int64_t j = 0; j < n; ++j) sum[j] += from[j];
    }
    finish_tile(args, {row / m, row % m, row % m + 1, 0, n}, sum, n);
  });
}

void run(const Job& job) {
  const GemmArgs& args = job.args;
  const int64_t batch = args.c.shape[0], m = args.c.shape[1], n = args.c.shape[2];
  const int64_t k = args.a.shape[2];
  if (batch * m * n == 0) return;
  const bool plain_f32 = args.a.dtype == DType::kF32 && args.b.dtype == DType::kF32 &&
                         args.c.dtype == DType::kF32 && is_plain(args) && args.bias.data == nullptr;
  const Grid tiles_of_shape = choose_grid(batch, m, n, k);
  const Grid grid = plain_f32 ? in_strips(tiles_of_shape, batch, k) : tiles_of_shape;
  const int64_t tiles = grid.tiles();
  const auto tile_at = [&](int64_t t) {
    const int64_t i = t % tiles / grid.cols.pieces, j = t % grid.cols.pieces;
    return Tile{t / tiles, grid.rows.border(i), grid.rows.border(i + 1), grid.cols.border(j),
                grid.cols.border(j + 1)};
  };
  visit_floating(args.c.dtype, [&](auto tag) {
    using C = decltype(tag);
    if (grid.parts > 1) {
      compute_in_parts<C>(job, grid, batch, tile_at);
      return;
    }
    // Small products share a task.
    constexpr double kTaskWork = 1e6;  // multiplications, about 12 us
    const double work = static_cast<double>(m * n) * static_cast<double>(k + 1) / tiles;
    const int64_t grain = std::clamp<int64_t>(static_cast<int64_t>(kTaskWork / work), 1, 64);
    parallel_ranges(batch * tiles, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) compute_tile<C>(job, tile_at(t));
    });
  });
}

}  // namespace

void gemm(const GemmArgs& args) { run({args, bf16_products_pay()}); }

void gemm_bf16(const GemmArgs& args, bool own_instructions) {
  TESSERA_CHECK(args.a.dtype == DType::kBF16, "[gemm] this road is for bf16 alone");
  run({args, own_instructions});
}

}  // namespace tessera::cpu
