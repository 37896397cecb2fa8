// What the row kernels share: a row as the compute type, lane by lane, in tasks of a few rows.
// Rule: a task's rows depend on the shape alone; the end of a row is a padded lane.
#pragma once

#include <algorithm>
#include <limits>

#include "cpu/lanes.h"
#include "cpu/pool.h"
#include "engine/view.h"

namespace tessera::cpu {

// body(row) for every row of length n, about kTaskElements a task.
template <class Body>
void parallel_rows(int64_t rows, int64_t n, Body&& body) {
  parallel_ranges(rows, kTaskElements / std::max<int64_t>(n, 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

// Element `at` of a contiguous view.
inline char* address(const View& v, int64_t at) {
  return v.as<char>() + at * static_cast<int64_t>(size_of(v.dtype));
}

// n elements of a contiguous x from `at` on, as C: the data itself where it already is that, else a
// copy in `buffer`, or in the thread's scratch `slot`.
template <class C>
const C* read_at(const View& x, int64_t at, int64_t n, C* buffer) {
  if (x.dtype == DTypeOf<C>::value) return x.as<const C>() + at;
  gather_elements(address(x, at), x.dtype, 1, n, buffer);
  return buffer;
}
template <class C>
const C* read_at(const View& x, int64_t at, int64_t n, int slot) {
  return read_at<C>(x, at, n, x.dtype == DTypeOf<C>::value ? nullptr : thread_scratch<C>(slot, n));
}
template <class C>
void write_at(const C* from, const View& y, int64_t at, int64_t n) {
  scatter_elements(from, n, address(y, at), y.dtype, 1);
}

// Row `row` of a contiguous (rows, n).
template <class C>
const C* read_row(const View& x, int64_t row, int64_t n, int slot) {
  return read_at<C>(x, row * n, n, slot);
}

// Where a row is to be written: its own memory, or scratch that `finish_row` converts.
template <class C>
C* start_row(const View& y, int64_t row, int64_t n, int slot) {
  return y.dtype == DTypeOf<C>::value ? y.as<C>() + row * n : thread_scratch<C>(slot, n);
}
template <class C>
void finish_row(const C* from, const View& y, int64_t row, int64_t n) {
  if (y.dtype != DTypeOf<C>::value) write_at(from, y, row * n, n);
}

// Element i of a vector of any dtype and stride.
template <class C>
C read_element(const View& x, int64_t i) {
  C value;
  return *read_at(x, i * x.stride[0], 1, &value);
}
template <class C>
void write_element(const View& y, int64_t i, C value) {
  write_at(&value, y, i * y.stride[0], 1);
}

// body(i, count): lanes of count elements at i, the last may be shorter.
template <class C, class Body>
void for_each_lane(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + kLane<C> <= n; i += kLane<C>) body(i, int64_t{kLane<C>});
  if (i < n) body(i, n - i);
}
template <class C>
Lane<C> load_lane(const C* p, int64_t count, C fill = C(0)) {
  return count == kLane<C> ? Lane<C>::load(p) : Lane<C>::load_part(p, count, fill);
}
template <class C>
void store_lane(Lane<C> lane, C* p, int64_t count) {
  if (count == kLane<C>) {
    lane.store(p);
  } else {
    lane.store_part(p, count);
  }
}

// The largest element; NaN among them may or may not come out.
template <class C>
C row_max(const C* x, int64_t n) {
  constexpr C kLowest = -std::numeric_limits<C>::infinity();
  Lane<C> best(kLowest);
  for_each_lane<C>(
      n, [&](int64_t i, int64_t count) { best = max(best, load_lane(x + i, count, kLowest)); });
  return horizontal_max(best);
}

// y = exp(x - shift), y may be x; returns the sum.
template <class C>
C row_exp(const C* x, C shift, int64_t n, C* y) {
  constexpr C kLowest = -std::numeric_limits<C>::infinity();
  Lane<C> sum(0.0);
  const Lane<C> by(shift);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    // Padding is exp(-inf) = 0, unless shift is infinite or NaN, where the sum is NaN anyway.
    const Lane<C> e = exp(load_lane(x + i, count, kLowest) - by);
    store_lane(e, y + i, count);
    sum = sum + e;
  });
  return horizontal_sum(sum);
}
template <class C>
C row_exp_sum(const C* x, C shift, int64_t n) {
  constexpr C kLowest = -std::numeric_limits<C>::infinity();
  Lane<C> sum(0.0);
  const Lane<C> by(shift);
  for_each_lane<C>(
      n, [&](int64_t i, int64_t count) { sum = sum + exp(load_lane(x + i, count, kLowest) - by); });
  return horizontal_sum(sum);
}

// The natural logarithm through the lane code, like everything else.
template <class C>
C lane_log(C x) {
  C parts[kLane<C>];
  log(Lane<C>(static_cast<double>(x))).store(parts);
  return parts[0];
}

// sum x, sum x y
template <class C>
C row_sum(const C* x, int64_t n) {
  Lane<C> sum(0.0);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) { sum = sum + load_lane(x + i, count); });
  return horizontal_sum(sum);
}
template <class C>
C row_dot(const C* x, const C* y, int64_t n) {
  Lane<C> sum(0.0);
  for_each_lane<C>(n, [&](int64_t i, int64_t count) {
    sum = sum + load_lane(x + i, count) * load_lane(y + i, count);
  });
  return horizontal_sum(sum);
}

// join(to, from) brings `pieces` partial results into the first, as a tree: of 46,000 pieces one
// after another the f32 sum of three million numbers would lose its fourth digit.
template <class Join>
void join_pairwise(int64_t pieces, Join&& join) {
  for (int64_t width = 1; width < pieces; width *= 2) {
    for (int64_t at = 0; at + width < pieces; at += 2 * width) join(at, at + width);
  }
}

}  // namespace tessera::cpu
