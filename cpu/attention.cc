// Attention of one head at a time: scores, softmax and the weighted sum stay in one thread's cache.
// Rule: a task is one (image, head), or one head over a fixed group of images where the gradient of
// the bias is summed; a head's queries go by in tiles of a few rows, so nothing of size (N, M)
// outlives a task, and backward makes each tile of P again from lse.
#include <tuple>
#include <utility>

#include "cpu/cached_product.h"
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/transpose.h"

namespace tessera::cpu {
namespace {

enum Slot { kHead, kScores, kScoreGradients, kTile, kBiasRow, kBiasPartials, kSums };

// Rows of scores at a time: two tiles of (32, 208) floats are 52 KiB, and stay in the nearest
// caches beside the head's keys and values.
constexpr int64_t kTileRows = 32;

// q (B, H, N, d), k and v (B, H, M, d); the last two are M and d in whole lanes.
struct Sizes {
  int64_t images, heads, n, m, d, padded_m, padded_d;
};

template <class C>
int64_t in_lanes(int64_t n) {
  return ceil_div(n, kLane<C>) * kLane<C>;
}

template <class C>
Sizes sizes_of(const AttentionArgs& args) {
  const int64_t m = args.k.shape[2], d = args.q.shape[3];
  return {args.q.shape[0], args.q.shape[1], args.q.shape[2], m, d, in_lanes<C>(m), in_lanes<C>(d)};
}

// Row i of head (b, h).
char* row_of(const View& v, int64_t b, int64_t h, int64_t i) {
  return v.as<char>() + (b * v.stride[0] + h * v.stride[1] + i * v.stride[2]) *
                            static_cast<int64_t>(size_of(v.dtype));
}

// A task takes a few heads in turn, image by image.
struct Head {
  int64_t b, h;
};

// Asks for row i of a head that comes next: rows of a head lie far apart, and who waits for each
// of them waits longer than the products take.
void fetch_ahead(const View& v, const Head* next, int64_t i) {
  if (next == nullptr || i >= v.shape[2]) return;
  const char* row = row_of(v, next->b, next->h, i);
  const int64_t bytes = v.shape[3] * static_cast<int64_t>(size_of(v.dtype));
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
}

// Whether the head's rows can be used where they are: of type C and whole lanes.
template <class C>
bool in_place(const View& v, const Sizes& s) {
  return v.dtype == DTypeOf<C>::value && s.d == s.padded_d;
}

// `count` rows from `first` on, copied to `to` (count, padded_d), zeros behind column d.
template <class C>
void pack_rows(const View& v, int64_t b, int64_t h, int64_t first, int64_t count, const Sizes& s,
               C* to) {
  for (int64_t i = 0; i < count; ++i, to += s.padded_d) {
    gather_elements(row_of(v, b, h, first + i), v.dtype, 1, s.d, to);
    std::fill(to + s.d, to + s.padded_d, C(0));
  }
}

// The same rows where they are, or packed in `buffer`.
template <class C>
Rows<C> read_rows(const View& v, int64_t b, int64_t h, int64_t first, int64_t count, const Sizes& s,
                  C* buffer) {
  if (in_place<C>(v, s)) return {reinterpret_cast<C*>(row_of(v, b, h, first)), v.stride[2]};
  pack_rows(v, b, h, first, count, s, buffer);
  return {buffer, s.padded_d};
}

// The head's M rows turned, `to` (d, padded_m), zeros behind column M. A block of rows and columns
// at a time, so that both sides stay in whole lanes.
template <class C>
void pack_turned(const View& v, int64_t b, int64_t h, const Sizes& s, C* buffer, C* to) {
  for (int64_t j = 0; j < s.padded_m; j += kTileRows) {
    const int64_t rows = std::clamp<int64_t>(s.m - j, 0, kTileRows);
    const int64_t padded = std::min(kTileRows, s.padded_m - j);
    const Rows<C> from = read_rows(v, b, h, j, rows, s, buffer);
    transpose(from.data, from.stride, 1, rows, s.d, to + j, s.padded_m);
    for (int64_t p = 0; p < s.d; ++p) {
      std::fill(to + p * s.padded_m + j + rows, to + p * s.padded_m + j + padded, C(0));
    }
  }
}

// Where a product for these rows of `out` can go: their own memory, or `buffer`, from which
// store_rows then rounds them.
template <class C>
Rows<C> start_rows(const View& out, int64_t b, int64_t h, int64_t first, const Sizes& s,
                   C* buffer) {
  if (in_place<C>(out, s)) return {reinterpret_cast<C*>(row_of(out, b, h, first)), out.stride[2]};
  return {buffer, s.padded_d};
}
template <class C>
void store_rows(Rows<C> rows, const View& out, int64_t b, int64_t h, int64_t first, int64_t count,
                const Sizes& s) {
  if (in_place<C>(out, s)) return;
  for (int64_t i = 0; i < count; ++i) {
    scatter_elements(rows.data + i * rows.stride, s.d, row_of(out, b, h, first + i), out.dtype, 1);
  }
}

// Row i of the bias as C, padded with zeros; nullptr when there is none.
template <class C>
const C* bias_row(const View& bias, const Sizes& s, int64_t b, int64_t h, int64_t i) {
  if (bias.data == nullptr) return nullptr;
  C* row = thread_scratch<C>(kBiasRow, s.padded_m);
  gather_elements(row_of(bias, b, h, i), bias.dtype, bias.stride[3], s.m, row);
  std::fill(row + s.m, row + s.padded_m, C(0));
  return row;
}

template <class C>
Lane<C> scaled_score(const C* row, const C* bias, Lane<C> scale, int64_t j) {
  const Lane<C> score = Lane<C>::load(row + j) * scale;
  return bias == nullptr ? score : score + Lane<C>::load(bias + j);
}

// row = softmax(scale row + bias), 0 behind column M; returns the largest score and the sum of
// exponentials.
template <class C>
std::pair<C, C> softmax_scores(C* row, const C* bias, const Sizes& s, Lane<C> scale) {
  const Lane<C> lowest(-std::numeric_limits<C>::infinity());
  Lane<C> best = lowest, sum(0.0);
  for (int64_t j = 0; j < s.padded_m; j += kLane<C>) {
    Lane<C> score = scaled_score(row, bias, scale, j);
    if (s.m < j + kLane<C>) score = keep_first(score, s.m - j, lowest);
    best = max(best, score);
    score.store(row + j);
  }
  const C top = horizontal_max(best);
  const auto shift = Lane<C>::filled(top);
  for (int64_t j = 0; j < s.padded_m; j += kLane<C>) {
    const Lane<C> e = exp(Lane<C>::load(row + j) - shift);
    sum = sum + e;
    e.store(row + j);
  }
  const C total = horizontal_sum(sum);
  const auto inverse = Lane<C>::filled(C(1) / total);
  for (int64_t j = 0; j < s.padded_m; j += kLane<C>) {
    (Lane<C>::load(row + j) * inverse).store(row + j);
  }
  return {top, total};
}

template <class C>
void forward_head(const AttentionArgs& args, const Sizes& s, Head head, const Head* next) {
  const auto [b, h] = head;
  C* keys = thread_scratch<C>(kHead, s.d * s.padded_m + s.m * s.padded_d);  // K^T
  C* values = keys + s.d * s.padded_m;
  C* tile = thread_scratch<C>(kTile, 2 * kTileRows * s.padded_d);
  C* p = thread_scratch<C>(kScores, kTileRows * s.padded_m);
  C* lse = args.lse.as<C>() + (b * s.heads + h) * s.n;
  C* sums = thread_scratch<C>(kSums, s.n);
  pack_turned(args.k, b, h, s, tile, keys);
  pack_rows(args.v, b, h, 0, s.m, s, values);
  const Lane<C> scale(args.scale);
  for (int64_t first = 0; first < s.n; first += kTileRows) {
    const int64_t rows = std::min(kTileRows, s.n - first);
    const Rows<C> q = read_rows(args.q, b, h, first, rows, s, tile);
    cached_product(rows, s.padded_m, s.d, q.matrix(), {keys, s.padded_m}, false, {p, s.padded_m});
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t row = first + i;
      std::tie(lse[row], sums[row]) =
          softmax_scores(p + i * s.padded_m, bias_row<C>(args.bias, s, b, h, row), s, scale);
      for (const View* v : {&args.q, &args.k, &args.v}) fetch_ahead(*v, next, row);
    }
    const Rows<C> out = start_rows(args.out, b, h, first, s, tile + kTileRows * s.padded_d);
    cached_product(rows, s.padded_d, s.m, {p, s.padded_m, 1}, {values, s.padded_d}, false, out);
    store_rows(out, args.out, b, h, first, rows, s);
  }
  for_each_lane<C>(s.n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(lse + i, count) + log(load_lane(sums + i, count, C(1))), lse + i, count);
  });
}

// dS = P (dO V^T - rowsum(dO O)) of one row, times scale, in place of its dO V^T; dbias (M,)
// collects dS without the scale, or is nullptr.
template <class C>
void turn_into_score_gradients(C* ds, const C* p, C dot_of_row, Lane<C> scale, const Sizes& s,
                               C* dbias) {
  const auto dot = Lane<C>::filled(dot_of_row);
  for (int64_t j = 0; j < s.padded_m; j += kLane<C>) {
    const Lane<C> gradient = Lane<C>::load(p + j) * (Lane<C>::load(ds + j) - dot);
    (gradient * scale).store(ds + j);
    if (dbias == nullptr) continue;
    const int64_t count = std::min<int64_t>(kLane<C>, s.m - j);
    store_lane(load_lane(dbias + j, count) + gradient, dbias + j, count);
  }
}

// dbias (N, M): where this head's gradient of the bias is added, or nullptr.
template <class C>
void backward_head(const AttentionBackwardArgs& args, const Sizes& s, Head head, const Head* next,
                   C* dbias) {
  const auto [b, h] = head;
  const AttentionArgs& f = args.forward;
  const int64_t turned = s.d * s.padded_m, packed = s.m * s.padded_d;
  C* keys_turned = thread_scratch<C>(kHead, 2 * turned + 3 * packed);  // K^T
  C* values_turned = keys_turned + turned;
  C* keys = values_turned + turned;
  C* dk = keys + packed;
  C* dv = dk + packed;
  const int64_t tile_size = kTileRows * s.padded_d;
  C* tile = thread_scratch<C>(kTile, 4 * tile_size);
  C* p = thread_scratch<C>(kScores, kTileRows * s.padded_m);
  C* ds = thread_scratch<C>(kScoreGradients, kTileRows * s.padded_m);
  pack_turned(f.k, b, h, s, tile, keys_turned);
  pack_turned(f.v, b, h, s, tile, values_turned);
  pack_rows(f.k, b, h, 0, s.m, s, keys);
  const C* lse = f.lse.as<C>() + (b * s.heads + h) * s.n;
  const Lane<C> scale(f.scale);
  for (int64_t first = 0; first < s.n; first += kTileRows) {
    const int64_t rows = std::min(kTileRows, s.n - first);
    const bool accumulate = first > 0;
    const Rows<C> q = read_rows(f.q, b, h, first, rows, s, tile);
    const Rows<C> out = read_rows(f.out, b, h, first, rows, s, tile + tile_size);
    const Rows<C> dout = read_rows(args.dout, b, h, first, rows, s, tile + 2 * tile_size);
    cached_product(rows, s.padded_m, s.d, q.matrix(), {keys_turned, s.padded_m}, false,
                   {p, s.padded_m});
    cached_product(rows, s.padded_m, s.d, dout.matrix(), {values_turned, s.padded_m}, false,
                   {ds, s.padded_m});
    for (int64_t i = 0; i < rows; ++i) {
      C* probabilities = p + i * s.padded_m;
      const C* bias = bias_row<C>(f.bias, s, b, h, first + i);
      const Lane<C> shift(lse[first + i]);
      for (int64_t j = 0; j < s.padded_m; j += kLane<C>) {
        exp(scaled_score(probabilities, bias, scale, j) - shift).store(probabilities + j);
      }
      const C dot = row_dot(dout.data + i * dout.stride, out.data + i * out.stride, s.d);
      turn_into_score_gradients(ds + i * s.padded_m, probabilities, dot, scale, s,
                                dbias == nullptr ? nullptr : dbias + (first + i) * s.m);
      for (const View* v : {&f.q, &f.k, &f.v, &f.out, &args.dout}) fetch_ahead(*v, next, first + i);
    }
    const Matrix<C> probabilities{p, s.padded_m, 1}, gradients{ds, s.padded_m, 1};
    cached_product(s.m, s.padded_d, rows, probabilities.transposed(), {dout.data, dout.stride},
                   accumulate, {dv, s.padded_d});
    cached_product(s.m, s.padded_d, rows, gradients.transposed(), {q.data, q.stride}, accumulate,
                   {dk, s.padded_d});
    const Rows<C> dq = start_rows(args.dq, b, h, first, s, tile + 3 * tile_size);
    cached_product(rows, s.padded_d, s.m, gradients, {keys, s.padded_d}, false, dq);
    store_rows(dq, args.dq, b, h, first, rows, s);
  }
  for (int64_t j = 0; j < s.m; ++j) {
    for (const auto& [from, to] : {std::pair(dk, &args.dk), std::pair(dv, &args.dv)}) {
      scatter_elements(from + j * s.padded_d, s.d, row_of(*to, b, h, j), to->dtype, 1);
    }
  }
}

// The gradient of a bias that the images share: each group of images sums its own, the groups are
// added in order.
template <class C>
void backward_with_bias(const AttentionBackwardArgs& args, const Sizes& s) {
  constexpr int64_t kTasks = 16;  // two to eight threads stay busy
  const int64_t wanted = std::max<int64_t>(1, ceil_div(kTasks, s.heads));
  const int64_t groups = std::clamp<int64_t>(s.images, 1, wanted);
  const int64_t head_size = s.n * s.m, size = s.heads * head_size;
  C* partial = thread_scratch<C>(kBiasPartials, groups * size);  // (groups, H, N, M)
  parallel_tasks(groups * s.heads, [&](int64_t task) {
    const int64_t group = task / s.heads, h = task % s.heads;
    C* sum = partial + task * head_size;
    std::fill_n(sum, head_size, C(0));
    const int64_t last = (group + 1) * s.images / groups;
    for (int64_t b = group * s.images / groups; b < last; ++b) {
      const Head next = {b + 1, h};
      backward_head<C>(args, s, {b, h}, b + 1 < last ? &next : nullptr, sum);
    }
  });
  parallel_ranges(size, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t group = 1; group < groups; ++group) {
      const C* from = partial + group * size;
      for (int64_t i = begin; i < end; ++i) partial[i] += from[i];
    }
    write_at(partial + begin, args.dbias, begin, end - begin);
  });
}

// body(head, the next one of the same task or nullptr) for every head.
template <class Body>
void for_each_head(const Sizes& s, Body&& body) {
  constexpr int64_t kTasks = 32;  // heads in turn, as long as a dozen threads have something to do
  const int64_t heads = s.images * s.heads;
  parallel_ranges(heads, heads / kTasks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Head next = {(i + 1) / s.heads, (i + 1) % s.heads};
      body(Head{i / s.heads, i % s.heads}, i + 1 < end ? &next : nullptr);
    }
  });
}

}  // namespace

void attention(const AttentionArgs& args) {
  if (args.out.numel() == 0) return;
  visit_floating(args.q.dtype, [&](auto tag) {
    using C = decltype(tag);
    const Sizes s = sizes_of<C>(args);
    for_each_head(s, [&](Head head, const Head* next) { forward_head<C>(args, s, head, next); });
  });
}

void attention_backward(const AttentionBackwardArgs& args) {
  visit_floating(args.forward.q.dtype, [&](auto tag) {
    using C = decltype(tag);
    const Sizes s = sizes_of<C>(args.forward);
    if (args.dbias.data != nullptr) {
      backward_with_bias<C>(args, s);
      return;
    }
    for_each_head(s, [&](Head head, const Head* next) {
      backward_head<C>(args, s, head, next, static_cast<C*>(nullptr));
    });
  });
}

}  // namespace tessera::cpu
