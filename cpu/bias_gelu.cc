// GELU of a product's rows and their bias, y = gelu(x + b), and its backward with db.
// Rule: db is summed over chunks of kChunkRows rows, the chunks in a tree: the order and so the
// bits of a sum over the rows of dx.
// Bytes an element in f32: forward 8 (a product that adds its bias itself, then GELU, move as
// many), backward 12 where GELU's backward and a sum over its result move 16.
#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

enum Slot { kPartial };

constexpr int64_t kChunkRows = 64;

template <class C>
void bias_gelu_block(const C* const* in, C* const* out, int64_t n, const void*) {
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    const Lane<C> x = load_lane(in[0] + i, count) + load_lane(in[1] + i, count);
    store_lane(functors::Gelu::f(x, {}), out[0] + i, count);
  });
}

// Columns [c0, c0 + count) of the rows [begin, end); adds dx to sums, nullptr: not wanted.
template <class C>
void backward_piece(const View& x, const View& b, const View& dy, const View& dx, int64_t begin,
                    int64_t end, int64_t c0, int64_t count, C* sums) {
  const int64_t n = x.shape[1];
  alignas(64) C bias[kBlock], in[kBlock], dout[kBlock], result[kBlock];
  gather_elements(address(b, c0 * b.stride[0]), b.dtype, b.stride[0], count, bias);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t at = row * n + c0;
    const C* from = read_at(x, at, count, in);
    const C* d = read_at(dy, at, count, dout);
    const bool direct = dx.dtype == DTypeOf<C>::value;
    C* to = direct ? dx.as<C>() + at : result;
    for_each_lane<C>(count, [&](int64_t i, int64_t lane) {
      const Lane<C> sum = load_lane(from + i, lane) + load_lane(bias + i, lane);
      const Lane<C> g = functors::Gelu::df(sum, load_lane(d + i, lane), {});
      store_lane(g, to + i, lane);
      if (sums != nullptr) store_lane(load_lane(sums + i, lane) + g, sums + i, lane);
    });
    if (!direct) write_at(to, dx, at, count);
  }
}

}  // namespace

void bias_gelu(const View& x, const View& b, const View& y) {
  const View bias{b.data, b.dtype, 2, {x.shape[0], x.shape[1]}, {0, b.stride[0]}};
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    for_each_block<C, 2, 1>({x, bias, y}, &bias_gelu_block<C>, nullptr);
  });
}

void bias_gelu_backward(const View& x, const View& b, const View& dy, const View& dx,
                        const View& db) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  const int64_t chunks = ceil_div(rows, kChunkRows), blocks = ceil_div(n, kBlock);
  visit_floating(x.dtype, [&](auto tag) {
    using C = decltype(tag);
    const bool wanted = db.data != nullptr;
    // (chunks, n), and one row of zeros where there is no chunk.
    C* partial = wanted ? thread_scratch<C>(kPartial, std::max<int64_t>(chunks, 1) * n) : nullptr;
    if (wanted) std::fill_n(partial, std::max<int64_t>(chunks, 1) * n, C(0));
    parallel_tasks(chunks * blocks, [&](int64_t task) {
      const int64_t chunk = task / blocks, c0 = task % blocks * kBlock, begin = chunk * kChunkRows;
      backward_piece<C>(x, b, dy, dx, begin, std::min(rows, begin + kChunkRows), c0,
                        std::min(kBlock, n - c0), wanted ? partial + chunk * n + c0 : nullptr);
    });
    if (!wanted) return;
    parallel_ranges(n, kBlock, [&](int64_t begin, int64_t end) {
      join_pairwise(chunks, [&](int64_t to, int64_t from) {
        for (int64_t i = begin; i < end; ++i) partial[to * n + i] += partial[from * n + i];
      });
      write_at(partial + begin, db, begin, end - begin);
    });
  });
}

}  // namespace tessera::cpu
