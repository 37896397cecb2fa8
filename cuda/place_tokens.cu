// Rows gathered with the positions that belong to them, and the way back: an encoder's visible
// patches behind their class token, a decoder's tokens among mask tokens.
// Rule: on the way back a thread owns a run of columns of a picture, so that additions stay in
// order, t ascending; the extra row's sums over the pictures are joined as reduce() joins rows.
// Bytes an element of y, x bf16 and the rest f32: 6, where an encoder's cast, its gathering of
// positions, their addition and the joining with the class token move 34; on the way back, for a
// decoder with a quarter visible, 6 where zeroes, a scatter, slices and a cast move 17.
#include "cuda/group.cuh"
#include "cuda/kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kAtOnce = 8;        // tokens that are read before the first is added
constexpr int kColumnBlock = 64;  // threads on the way back: 256 pictures of 768 make 384 blocks

struct Places {
  const int64_t *source, *place;
  int64_t source_stride[2], place_stride[2];
  int64_t rows, tokens;  // N, which also stands for the extra row; T

  explicit Places(const PlaceTokensArgs& args)
      : source(args.source.as<const int64_t>()),
        place(args.place.as<const int64_t>()),
        source_stride{args.source.stride[0], args.source.stride[1]},
        place_stride{args.place.stride[0], args.place.stride[1]},
        rows(args.x.shape[1]),
        tokens(args.y.shape[1]) {}
  __device__ int64_t source_of(int64_t b, int64_t t) const {
    if (source == nullptr) return t == 0 ? rows : t - 1;
    return source[b * source_stride[0] + t * source_stride[1]];
  }
  __device__ int64_t place_of(int64_t b, int64_t t) const {
    return place == nullptr ? t : place[b * place_stride[0] + t * place_stride[1]];
  }
};

template <class C, int kWidth>
__global__ void __launch_bounds__(kRowBlock)
    place_token_rows(Places places, Rows x, Rows extra, Rows table, Rows y, int64_t count) {
  const Group<kWidth> group;
  if (group.row >= count) return;
  const int64_t b = group.row / places.tokens, t = group.row % places.tokens;
  const int64_t source = places.source_of(b, t), place = places.place_of(b, t);
  const bool is_extra = source == places.rows;
  group.for_each_run(y.n, [&](int64_t i) {
    Run<C> v = is_extra ? read_run<C>(extra, 0, i) : read_run<C>(x, b * places.rows + source, i);
    const Run<C> position = read_run<C>(table, place, i);
    for (int k = 0; k < kRun; ++k) v.at[k] += position.at[k];
    write_run(y, group.row, i, v);
  });
}

// sums (B, D): of the extra row.
template <class C>
__global__ void __launch_bounds__(kColumnBlock)
    place_token_columns(Places places, Rows dy, Rows dx, Rows sums, int64_t runs, int64_t count) {
  const int64_t at = int64_t{blockIdx.x} * kColumnBlock + threadIdx.x;
  if (at >= count) return;
  const int64_t b = at / runs, i = at % runs * kRun;
  const Run<C> zero = {};
  Run<C> extra = {};
  for (int64_t n = 0; n < places.rows; ++n) write_run(dx, b * places.rows + n, i, zero);
  for (int64_t first = 0; first < places.tokens; first += kAtOnce) {
    Run<C> d[kAtOnce];
    TESSERA_UNROLL
    for (int k = 0; k < kAtOnce; ++k) {
      if (first + k < places.tokens) d[k] = read_run<C>(dy, b * places.tokens + first + k, i);
    }
    TESSERA_UNROLL
    for (int k = 0; k < kAtOnce; ++k) {
      if (first + k >= places.tokens) continue;
      const int64_t source = places.source_of(b, first + k), row = b * places.rows + source;
      Run<C> sum = source == places.rows ? extra : read_run<C>(dx, row, i);
      for (int j = 0; j < kRun; ++j) sum.at[j] += d[k].at[j];
      if (source == places.rows) {
        extra = sum;
      } else {
        write_run(dx, row, i, sum);
      }
    }
  }
  write_run(sums, b, i, extra);
}

}  // namespace

void place_tokens(const PlaceTokensArgs& args) {
  const int64_t d = args.y.shape[2], count = args.y.shape[0] * args.y.shape[1];
  visit_floating(args.y.dtype, [&](auto tag) {
    using C = decltype(tag);
    launch_rows({count, d}, place_token_rows<C, kRowBlock>, place_token_rows<C, kWarp>,
                Places(args), Rows(args.x, d), Rows(args.extra, d), Rows(args.table, d),
                Rows(args.y, d));
  });
}

void place_tokens_backward(const PlaceTokensArgs& args) {
  const int64_t batch = args.y.shape[0], d = args.y.shape[2], runs = ceil_div(d, kRun);
  visit_floating(args.y.dtype, [&](auto tag) {
    using C = decltype(tag);
    const Scratch sums(static_cast<size_t>(batch * d) * sizeof(C));
    const View by_picture{sums.as<void>(), DTypeOf<C>::value, 3, {1, batch, d}, {batch * d, d, 1}};
    launch(place_token_columns<C>, ceil_div(batch * runs, kColumnBlock), kColumnBlock, 0, stream(),
           Places(args), Rows(args.y, d), Rows(args.x, d), Rows(by_picture, d), runs, batch * runs);
    if (args.extra.data == nullptr) return;
    reduce(ReduceOp::kSum, by_picture, {args.extra.data, args.extra.dtype, 2, {1, d}, {d, 1}});
  });
}

}  // namespace tessera::cuda
