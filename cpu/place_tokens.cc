// Rows gathered with the positions that belong to them, and the way back: an encoder's visible
// patches behind their class token, a decoder's tokens among mask tokens.
// Rule: one task owns a picture and a block of columns on the way back, so that additions stay in
// order, t ascending; the extra row's sums over the pictures are joined as reduce() joins rows.
// Bytes an element of y in f32: 8, where an encoder's gathering of positions, their addition and
// the joining with the class token move 28; on the way back, for a decoder with a quarter visible,
// 7 where zeroes, a scatter and slices move 15.
#include "cpu/blocks.h"
#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

enum Slot { kRow, kPosition, kResult, kExtraSums };

struct Places {
  explicit Places(const PlaceTokensArgs& args) : source_(args.source), place_(args.place) {
    last_ = args.x.shape[1];
  }
  int64_t source(int64_t b, int64_t t) const {
    if (source_.data == nullptr) return t == 0 ? last_ : t - 1;
    return source_.as<const int64_t>()[b * source_.stride[0] + t * source_.stride[1]];
  }
  int64_t place(int64_t b, int64_t t) const {
    if (place_.data == nullptr) return t;
    return place_.as<const int64_t>()[b * place_.stride[0] + t * place_.stride[1]];
  }
  bool is_extra(int64_t source) const { return source == last_; }

 private:
  View source_, place_;
  int64_t last_;  // N, which stands for the extra row
};

template <class C>
void add_lanes(const C* a, const C* b, int64_t n, C* out) {
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(a + i, count) + load_lane(b + i, count), out + i, count);
  });
}

}  // namespace

void place_tokens(const PlaceTokensArgs& args) {
  const int64_t batch = args.y.shape[0], tokens = args.y.shape[1], d = args.y.shape[2];
  const int64_t rows = args.x.shape[1];
  const Places places(args);
  visit_floating(args.y.dtype, [&](auto tag) {
    using C = decltype(tag);
    parallel_rows(batch * tokens, d, [&](int64_t token) {
      const int64_t b = token / tokens, t = token % tokens, source = places.source(b, t);
      const bool extra = places.is_extra(source);
      const C* row =
          read_row<C>(extra ? args.extra : args.x, extra ? 0 : b * rows + source, d, kRow);
      C* out = start_row<C>(args.y, token, d, kResult);
      add_lanes(row, read_row<C>(args.table, places.place(b, t), d, kPosition), d, out);
      finish_row(out, args.y, token, d);
    });
  });
}

void place_tokens_backward(const PlaceTokensArgs& args) {
  const int64_t batch = args.y.shape[0], tokens = args.y.shape[1], d = args.y.shape[2];
  const int64_t rows = args.x.shape[1], blocks = ceil_div(d, kBlock);
  const Places places(args);
  visit_floating(args.y.dtype, [&](auto tag) {
    using C = decltype(tag);
    C* sums = thread_scratch<C>(kExtraSums, batch * d);  // (B, D): of the extra row
    parallel_tasks(batch * blocks, [&](int64_t task) {
      const int64_t b = task / blocks, c0 = task % blocks * kBlock;
      const int64_t count = std::min(kBlock, d - c0);
      alignas(64) C from[kBlock], to[kBlock];
      C* extra = sums + b * d + c0;
      std::fill_n(extra, count, C(0));
      std::fill_n(to, count, C(0));
      for (int64_t n = 0; n < rows; ++n) write_at(to, args.x, (b * rows + n) * d + c0, count);
      for (int64_t t = 0; t < tokens; ++t) {
        const C* dy = read_at(args.y, (b * tokens + t) * d + c0, count, from);
        const int64_t source = places.source(b, t);
        if (places.is_extra(source)) {
          add_lanes<C>(extra, dy, count, extra);
          continue;
        }
        const int64_t at = (b * rows + source) * d + c0;
        add_lanes<C>(read_at(args.x, at, count, to), dy, count, to);
        write_at(to, args.x, at, count);
      }
    });
    if (args.extra.data == nullptr) return;
    reduce(ReduceOp::kSum, {sums, DTypeOf<C>::value, 3, {1, batch, d}, {batch * d, d, 1}},
           {args.extra.data, args.extra.dtype, 2, {1, d}, {d, 1}});
  });
}

}  // namespace tessera::cpu
