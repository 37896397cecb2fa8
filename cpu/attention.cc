// Attention of one head at a time: scores, softmax and the weighted sum stay in one thread's cache.
// Rule: a task is one (image, head), or one head over a fixed group of images where the gradient of
// the bias is summed; nothing of size (N, M) outlives the task, backward makes P again from lse.
#include <tuple>
#include <utility>

#include "cpu/kernels.h"
#include "cpu/multiply.h"
#include "cpu/rows.h"

namespace tessera::cpu {
namespace {

// Scratch slots; multiply has 6 and 7.
enum Slot { kScores, kScoreGradients, kOperands, kResult, kBiasRow, kBiasPartials };

struct Sizes {
  int64_t images, heads, n, m, d, padded;  // q (B, H, N, d), k (B, H, M, d); padded: M in lanes
};

template <class C>
Sizes sizes_of(const AttentionArgs& args) {
  const int64_t m = args.k.shape[2];
  return {args.q.shape[0], args.q.shape[1],
          args.q.shape[2], m,
          args.q.shape[3], (m + kLane<C> - 1) / kLane<C> * kLane<C>};
}

char* head_of(const View& v, int64_t b, int64_t h) {
  return v.as<char>() +
         (b * v.stride[0] + h * v.stride[1]) * static_cast<int64_t>(size_of(v.dtype));
}

// One head's (rows, d) as C: in place, or widened into `buffer`, which moves on behind it.
template <class C>
Matrix<C> read_head(const View& v, int64_t b, int64_t h, C** buffer) {
  const char* from = head_of(v, b, h);
  if (v.dtype == DTypeOf<C>::value) {
    return {reinterpret_cast<const C*>(from), v.stride[2], 1};
  }
  const int64_t rows = v.shape[2], d = v.shape[3];
  C* out = *buffer;
  for (int64_t i = 0; i < rows; ++i) {
    gather_elements(from + i * v.stride[2] * static_cast<int64_t>(size_of(v.dtype)), v.dtype, 1, d,
                    out + i * d);
  }
  *buffer += rows * d;
  return {out, d, 1};
}

// out (rows, d) = a (rows, k) b (k, d), rounded on the way where out is narrower than C.
template <class C>
void write_head(const View& out, int64_t b, int64_t h, int64_t k, Matrix<C> left, Matrix<C> right) {
  const int64_t rows = out.shape[2], d = out.shape[3];
  char* to = head_of(out, b, h);
  if (out.dtype == DTypeOf<C>::value) {
    multiply(rows, d, k, left, right, false, reinterpret_cast<C*>(to), out.stride[2]);
    return;
  }
  C* result = thread_scratch<C>(kResult, rows * d);
  multiply(rows, d, k, left, right, false, result, d);
  for (int64_t i = 0; i < rows; ++i) {
    scatter_elements(result + i * d, d,
                     to + i * out.stride[2] * static_cast<int64_t>(size_of(out.dtype)), out.dtype,
                     1);
  }
}

// Row i of the bias as C, padded with zeros; nullptr when there is none.
template <class C>
const C* bias_row(const View& bias, const Sizes& s, int64_t b, int64_t h, int64_t i) {
  if (bias.data == nullptr) return nullptr;
  C* row = thread_scratch<C>(kBiasRow, s.padded);
  const char* from =
      head_of(bias, b, h) + i * bias.stride[2] * static_cast<int64_t>(size_of(bias.dtype));
  gather_elements(from, bias.dtype, bias.stride[3], s.m, row);
  std::fill(row + s.m, row + s.padded, C(0));
  return row;
}

// scores (N, padded) = q k^T; what lies behind column M is set by the callers.
template <class C>
C* multiply_scores(const Sizes& s, Matrix<C> q, Matrix<C> k) {
  C* scores = thread_scratch<C>(kScores, s.n * s.padded);
  multiply(s.n, s.m, s.d, q, k.transposed(), false, scores, s.padded);
  return scores;
}

template <class C>
Lane<C> scaled_score(const C* row, const C* bias, Lane<C> scale, int64_t j) {
  const Lane<C> score = Lane<C>::load(row + j) * scale;
  return bias == nullptr ? score : score + Lane<C>::load(bias + j);
}

// row = softmax(scale row + bias); returns the largest score and the sum of exponentials.
template <class C>
std::pair<C, C> softmax_scores(C* row, const C* bias, const Sizes& s, Lane<C> scale) {
  const Lane<C> lowest(-std::numeric_limits<C>::infinity());
  Lane<C> best = lowest, sum(0.0);
  for (int64_t j = 0; j < s.padded; j += kLane<C>) {
    Lane<C> score = scaled_score(row, bias, scale, j);
    if (s.m < j + kLane<C>) score = keep_first(score, s.m - j, lowest);
    best = max(best, score);
    score.store(row + j);
  }
  const C top = horizontal_max(best);
  const auto shift = Lane<C>::filled(top);
  for (int64_t j = 0; j < s.padded; j += kLane<C>) {
    const Lane<C> e = exp(Lane<C>::load(row + j) - shift);
    sum = sum + e;
    e.store(row + j);
  }
  const C total = horizontal_sum(sum);
  const auto inverse = Lane<C>::filled(C(1) / total);
  for (int64_t j = 0; j < s.padded; j += kLane<C>) {
    (Lane<C>::load(row + j) * inverse).store(row + j);
  }
  return {top, total};
}

template <class C>
void forward_head(const AttentionArgs& args, const Sizes& s, int64_t b, int64_t h) {
  C* buffer = thread_scratch<C>(kOperands, (s.n + 2 * s.m) * s.d);
  const Matrix<C> q = read_head(args.q, b, h, &buffer);
  const Matrix<C> k = read_head(args.k, b, h, &buffer);
  const Matrix<C> v = read_head(args.v, b, h, &buffer);
  C* p = multiply_scores(s, q, k);
  C* lse = args.lse.as<C>() + (b * s.heads + h) * s.n;
  C* sums = thread_scratch<C>(kScoreGradients, s.n);
  const Lane<C> scale(args.scale);
  for (int64_t i = 0; i < s.n; ++i) {
    std::tie(lse[i], sums[i]) =
        softmax_scores(p + i * s.padded, bias_row<C>(args.bias, s, b, h, i), s, scale);
  }
  for_each_lane<C>(s.n, [&](int64_t i, int64_t count) {
    store_lane(load_lane(lse + i, count) + log(load_lane(sums + i, count, C(1))), lse + i, count);
  });
  write_head<C>(args.out, b, h, s.m, {p, s.padded, 1}, v);
}

// dbias (N, M): where this head's gradient of the bias is added, or nullptr.
template <class C>
void backward_head(const AttentionBackwardArgs& args, const Sizes& s, int64_t b, int64_t h,
                   C* dbias) {
  const AttentionArgs& f = args.forward;
  C* buffer = thread_scratch<C>(kOperands, (3 * s.n + 2 * s.m) * s.d);
  const Matrix<C> q = read_head(f.q, b, h, &buffer);
  const Matrix<C> k = read_head(f.k, b, h, &buffer);
  const Matrix<C> v = read_head(f.v, b, h, &buffer);
  const Matrix<C> out = read_head(f.out, b, h, &buffer);
  const Matrix<C> dout = read_head(args.dout, b, h, &buffer);
  const C* lse = f.lse.as<C>() + (b * s.heads + h) * s.n;

  C* p = multiply_scores(s, q, k);
  const Lane<C> scale(f.scale);
  for (int64_t i = 0; i < s.n; ++i) {
    C* row = p + i * s.padded;
    const C* bias = bias_row<C>(f.bias, s, b, h, i);
    const Lane<C> shift(lse[i]);
    for (int64_t j = 0; j < s.padded; j += kLane<C>) {
      exp(scaled_score(row, bias, scale, j) - shift).store(row + j);
    }
  }
  const Matrix<C> probabilities{p, s.padded, 1};
  write_head(args.dv, b, h, s.n, probabilities.transposed(), dout);

  // dS = P (dO V^T - rowsum(dO O)), in place of dO V^T and then times scale.
  C* ds = thread_scratch<C>(kScoreGradients, s.n * s.padded);
  multiply(s.n, s.m, s.d, dout, v.transposed(), false, ds, s.padded);
  for (int64_t i = 0; i < s.n; ++i) {
    C* row = ds + i * s.padded;
    const Lane<C> dot(row_dot(dout.data + i * dout.row, out.data + i * out.row, s.d));
    for (int64_t j = 0; j < s.padded; j += kLane<C>) {
      const Lane<C> gradient = Lane<C>::load(p + i * s.padded + j) * (Lane<C>::load(row + j) - dot);
      (gradient * scale).store(row + j);
      if (dbias == nullptr) continue;
      const int64_t count = std::min<int64_t>(kLane<C>, s.m - j);
      store_lane(load_lane(dbias + i * s.m + j, count) + gradient, dbias + i * s.m + j, count);
    }
  }
  const Matrix<C> score_gradients{ds, s.padded, 1};
  write_head(args.dq, b, h, s.m, score_gradients, k);
  write_head(args.dk, b, h, s.n, score_gradients.transposed(), q);
}

// The gradient of a bias that the images share: each group of images sums its own, the groups are
// added in order.
template <class C>
void backward_with_bias(const AttentionBackwardArgs& args, const Sizes& s) {
  constexpr int64_t kTasks = 16;  // two to eight threads stay busy
  const int64_t wanted = std::max<int64_t>(1, (kTasks + s.heads - 1) / s.heads);
  const int64_t groups = std::clamp<int64_t>(s.images, 1, wanted);
  const int64_t head_size = s.n * s.m, size = s.heads * head_size;
  C* partial = thread_scratch<C>(kBiasPartials, groups * size);  // (groups, H, N, M)
  parallel_tasks(groups * s.heads, [&](int64_t task) {
    const int64_t group = task / s.heads, h = task % s.heads;
    C* sum = partial + task * head_size;
    std::fill_n(sum, head_size, C(0));
    const int64_t last = (group + 1) * s.images / groups;
    for (int64_t b = group * s.images / groups; b < last; ++b) {
      backward_head<C>(args, s, b, h, sum);
    }
  });
  parallel_ranges(size, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t group = 1; group < groups; ++group) {
      const C* from = partial + group * size;
      for (int64_t i = begin; i < end; ++i) partial[i] += from[i];
    }
    scatter_elements(
        partial + begin, end - begin,
        args.dbias.as<char>() + begin * static_cast<int64_t>(size_of(args.dbias.dtype)),
        args.dbias.dtype, 1);
  });
}

}  // namespace

void attention(const AttentionArgs& args) {
  if (args.out.numel() == 0) return;
  visit_floating(args.q.dtype, [&](auto tag) {
    using C = decltype(tag);
    const Sizes s = sizes_of<C>(args);
    parallel_tasks(s.images * s.heads,
                   [&](int64_t task) { forward_head<C>(args, s, task / s.heads, task % s.heads); });
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
    parallel_tasks(s.images * s.heads, [&](int64_t task) {
      backward_head<C>(args, s, task / s.heads, task % s.heads, nullptr);
    });
  });
}

}  // namespace tessera::cpu
