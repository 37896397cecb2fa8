// Shapes and strides: small fixed-capacity lists of int64, broadcasting, index arithmetic.
// Rule: every size computed here is checked for overflow; strides count elements, not bytes.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "engine/error.h"

namespace tessera {

inline constexpr int kMaxDims = 8;

// A list of at most kMaxDims numbers, by value, without a heap allocation.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) {
    for (int64_t v : values) push_back(v);
  }
  explicit Dims(const std::vector<int64_t>& values) {
    for (int64_t v : values) push_back(v);
  }
  static Dims filled(int count, int64_t value) {
    Dims d;
    for (int i = 0; i < count; ++i) d.push_back(value);
    return d;
  }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t operator[](int i) const { return values_[i]; }
  int64_t& operator[](int i) { return values_[i]; }
  int64_t back() const { return values_[size_ - 1]; }
  int64_t& back() { return values_[size_ - 1]; }
  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return values_.data() + size_; }
  const int64_t* data() const { return values_.data(); }

  void push_back(int64_t v) {
    TESSERA_CHECK(size_ < kMaxDims, "a tensor has at most {} dimensions", kMaxDims);
    values_[size_++] = v;
  }
  void insert(int at, int64_t v) {
    push_back(v);
    for (int i = size_ - 1; i > at; --i) std::swap(values_[i], values_[i - 1]);
  }
  void erase(int at) {
    for (int i = at; i + 1 < size_; ++i) values_[i] = values_[i + 1];
    --size_;
  }
  bool operator==(const Dims& o) const {
    return size_ == o.size_ && std::equal(begin(), end(), o.begin());
  }

 private:
  std::array<int64_t, kMaxDims> values_{};
  int size_ = 0;
};

using Shape = Dims;
using Strides = Dims;

// Number of elements; an error if a size is negative or the product leaves int64.
int64_t numel_of(const Shape& shape);

// Row-major strides in elements.
Strides contiguous_strides(const Shape& shape);

// NumPy's broadcasting; the error names `op` and both shapes.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

// -1 is the last dimension; the error names `op`.
int normalize_dim(const char* op, int64_t dim, int ndim);

// "(2, 3, 32, 32)"
std::string to_string(const Shape& shape);

}  // namespace tessera

template <>
struct fmt::formatter<tessera::Dims> : fmt::formatter<std::string> {
  auto format(const tessera::Dims& d, fmt::format_context& ctx) const {
    return fmt::formatter<std::string>::format(tessera::to_string(d), ctx);
  }
};
