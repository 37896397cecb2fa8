// Tensors, shapes and views: what moves no elements, and what must be refused.
#include "engine/tensor.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

using Catch::Contains;

std::vector<double> values(const Tensor& t) { return raw::to(t, DType::kF64).to_vector<double>(); }
using Values = std::vector<double>;

Tensor count_up(const Shape& shape) {
  std::vector<float> v(static_cast<size_t>(numel_of(shape)));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
  return Tensor::from(v, shape);
}

TEST_CASE("sizes are checked for overflow") {
  CHECK(numel_of({}) == 1);
  CHECK(numel_of({3, 0, 5}) == 0);
  CHECK(numel_of({int64_t{1} << 31, int64_t{1} << 31}) == int64_t{1} << 62);
  CHECK_THROWS_WITH(numel_of({int64_t{1} << 32, int64_t{1} << 32}), Contains("int64"));
  CHECK_THROWS_AS(numel_of({0, int64_t{1} << 40, int64_t{1} << 40}), Error);
  CHECK_THROWS_WITH(numel_of({2, -1}), Contains("negative") && Contains("(2, -1)"));
  CHECK_THROWS_AS(Tensor::empty({int64_t{1} << 60}, DType::kF64), Error);
  CHECK_THROWS_WITH(Tensor::empty({int64_t{1} << 50}), Contains("memory"));
  CHECK_THROWS_WITH((Dims{1, 2, 3, 4, 5, 6, 7, 8, 9}), Contains("8 dimensions"));
}

TEST_CASE("shapes broadcast as in NumPy") {
  CHECK(broadcast_shapes("op", {2, 1, 4}, {3, 1}) == Shape{2, 3, 4});
  CHECK(broadcast_shapes("op", {}, {2, 0}) == Shape{2, 0});
  CHECK(broadcast_shapes("op", {1}, {0}) == Shape{0});
  CHECK_THROWS_WITH(broadcast_shapes("op", {2, 3}, {4}),
                    Contains("[op]") && Contains("(2, 3)") && Contains("(4,)"));
  CHECK(normalize_dim("op", -1, 3) == 2);
  CHECK_THROWS_WITH(normalize_dim("op", 3, 3), Contains("[op]") && Contains("3"));
  CHECK_THROWS_AS(normalize_dim("op", -4, 3), Error);
  CHECK_THROWS_AS(normalize_dim("op", 0, 0), Error);
  CHECK(to_string(Shape{}) == "()");
  CHECK(to_string(Shape{5}) == "(5,)");
  CHECK(to_string(Shape{2, 3}) == "(2, 3)");
}

TEST_CASE("a window must lie inside its storage") {
  const Tensor t = count_up({10});
  const auto window = [&](int64_t offset, const Shape& shape, const Strides& strides) {
    return Tensor::window(t.storage(), offset, shape, strides, DType::kF32);
  };
  CHECK(values(window(1, {2, 3}, {4, 1})) == Values{1, 2, 3, 5, 6, 7});
  CHECK(values(window(9, {4}, {-3})) == Values{9, 6, 3, 0});
  CHECK(values(window(4, {2, 2}, {0, 0})) == Values{4, 4, 4, 4});
  CHECK(window(100, {0, 3}, {3, 1}).numel() == 0);
  CHECK_THROWS_WITH(window(8, {3}, {1}), Contains("leaves its storage"));
  CHECK_THROWS_AS(window(-1, {2}, {1}), Error);
  CHECK_THROWS_AS(window(2, {2}, {-3}), Error);
  CHECK_THROWS_AS(window(0, {2, 6}, {5, 1}), Error);
}

TEST_CASE("views share memory and count writes together") {
  const Tensor t = count_up({3, 4});
  const Tensor row = raw::select(t, 0, 1), column = raw::slice(t, 1, 2, 3);
  const uint64_t before = t.storage()->version();
  raw::fill_(row, -1);
  CHECK(values(column) == Values{2, -1, 10});
  CHECK(column.storage()->version() == before + 1);
  raw::copy_(column, Tensor::full({1}, 7, DType::kF64));  // broadcasts and converts
  raw::add_(t, t);
  raw::scale_(raw::transpose(t, 0, 1), 0.5);
  CHECK(t.storage()->version() == before + 4);
  CHECK(values(t) == Values{0, 1, 7, 3, -1, -1, 7, -1, 8, 9, 7, 11});
}

TEST_CASE("views of views") {
  const Tensor t = count_up({2, 3, 4});
  CHECK(values(raw::select(raw::transpose(t, 0, 2), 0, 1)) == Values{1, 13, 5, 17, 9, 21});
  CHECK(values(raw::slice(raw::slice(t, 2, 1, 4, 2), 2, 1, 2)) == Values{3, 7, 11, 15, 19, 23});
  CHECK(values(raw::flip(raw::select(t, 0, 0), 1)) == Values{3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8});
  const Tensor twice = raw::flip(raw::flip(t, 0), 0);
  CHECK(values(twice) == values(t));
  CHECK(twice.is_contiguous());
  CHECK(values(raw::slice(t, -1, -2, 4)) == values(raw::slice(t, 2, 2, 4)));
  CHECK(raw::slice(t, 0, 1, 1).numel() == 0);
  // Reshape keeps the storage where it can and copies where it must.
  CHECK(raw::reshape(t, {6, 4}).storage() == t.storage());
  CHECK(raw::reshape(raw::slice(t, 0, 1, 2), {12}).storage() == t.storage());
  CHECK(raw::reshape(raw::slice(t, 2, 0, 2), {2, 3, 2, 1}).storage() == t.storage());
  const Tensor mixed = raw::reshape(raw::transpose(t, 1, 2), {2, 12});
  CHECK(mixed.storage() != t.storage());
  CHECK(values(raw::select(mixed, 0, 0)) == Values{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
  CHECK(values(raw::reshape(raw::expand(count_up({2, 1}), {2, 3}), {6})) ==
        Values{0, 0, 0, 1, 1, 1});
}

TEST_CASE("sliding windows show a picture over and over") {
  const Tensor x = count_up({1, 1, 3, 4});
  const Tensor w = raw::windows2d(x, 2, 2, 1, 1);  // (1, 1, 2, 2, 2, 3)
  CHECK(w.shape() == Shape{1, 1, 2, 2, 2, 3});
  CHECK(w.storage() == x.storage());
  CHECK(values(raw::select(raw::select(w, 2, 1), 2, 1)) == Values{5, 6, 7, 9, 10, 11});
  CHECK_THROWS_WITH(raw::windows2d(x, 4, 2, 1, 1), Contains("[windows2d]"));
}

TEST_CASE("contiguity is about elements, not strides of single ones") {
  CHECK(count_up({2, 3}).is_contiguous());
  CHECK_FALSE(raw::transpose(count_up({2, 3}), 0, 1).is_contiguous());
  CHECK(raw::transpose(count_up({1, 3}), 0, 1).is_contiguous());
  CHECK(raw::slice(count_up({4, 3}), 0, 1, 3).is_contiguous());
  CHECK_FALSE(raw::slice(count_up({4, 3}), 1, 0, 2).is_contiguous());
  CHECK_FALSE(raw::expand(count_up({1, 3}), {2, 3}).is_contiguous());
  CHECK(Tensor::empty({}).is_contiguous());
  CHECK(Tensor::empty({3, 0}).is_contiguous());
}

TEST_CASE("tensors of one element and of none") {
  CHECK(Tensor::full({}, 2.5).item() == 2.5);
  CHECK(Tensor::full({1, 1}, 3, DType::kI64).item() == 3);
  CHECK(Tensor::full({2}, 1, DType::kBool).numel() == 2);
  CHECK(Tensor::zeros({0, 4}).to_vector<float>().empty());
  CHECK_THROWS_WITH(Tensor::zeros({2}).item(), Contains("one element") && Contains("f32 (2,)"));
  CHECK_THROWS_AS(Tensor().item(), Error);
  CHECK(raw::sum(Tensor::zeros({0, 4}), {}, false).item() == 0);
}

TEST_CASE("host access is checked") {
  const Tensor t = count_up({2, 3});
  CHECK(t.data<float>()[5] == 5);
  CHECK_THROWS_WITH(t.data<double>(), Contains("f64") && Contains("f32 (2, 3)"));
  CHECK_THROWS_WITH(raw::transpose(t, 0, 1).data<float>(), Contains("contiguous"));
  CHECK_THROWS_WITH(t.to_vector<int64_t>(), Contains("i64"));
  CHECK_THROWS_WITH(Tensor::from(std::vector<float>{1, 2}, {3}),
                    Contains("2 values") && Contains("(3,)"));
  CHECK_THROWS_AS(Tensor().data<float>(), Error);
  CHECK_THROWS_AS(t.size(2), Error);
}

TEST_CASE("who else holds a tensor") {
  Tensor t = count_up({4});
  CHECK(t.is_unshared());
  {
    const Tensor handle = t;
    CHECK_FALSE(t.is_unshared());
    CHECK(handle.is_same(t));
  }
  const Tensor view = raw::slice(t, 0, 0, 2);
  CHECK_FALSE(t.is_unshared());
  CHECK_FALSE(view.is_same(t));
}

TEST_CASE("tensors print well") {
  CHECK(to_string(Tensor()) == "undefined tensor");
  CHECK(to_string(Tensor::full({}, 2.5)) == "f32 () 2.5");
  CHECK(to_string(Tensor::zeros({0, 3})) == "f32 (0, 3) []");
  CHECK(to_string(count_up({3})) == "f32 (3,) [0  1  2]");
  CHECK(to_string(Tensor::from(std::vector<float>{-1.5f, 100, 0.25f, 3}, {2, 2})) ==
        "f32 (2, 2)\n"
        "[[-1.5   100]\n"
        " [0.25     3]]");
  CHECK(to_string(Tensor::from(std::vector<int64_t>{10, -2}, {1, 2})) == "i64 (1, 2)\n[[10  -2]]");
  CHECK(to_string(count_up({20})) == "f32 (20,) [ 0   1   2  ...  17  18  19]");
  CHECK(to_string(raw::transpose(count_up({2, 2}), 0, 1)) == "f32 (2, 2)\n[[0  2]\n [1  3]]");
  CHECK(to_string(Tensor::full({2}, NAN)) == "f32 (2,) [nan  nan]");
  CHECK(describe(Tensor()) == "undefined");
  CHECK(describe(Tensor::zeros({2, 3}, DType::kBF16)) == "bf16 (2, 3)");
}

TEST_CASE("printing a large tensor looks at its ends only", "[.slow]") {
  CHECK(to_string(Tensor::zeros({1000, 1000, 16})).size() < 10000);
}

TEST_CASE("an absent device is a user's error") {
  CHECK(has_backend(Device::kCpu));
  if (!has_backend(Device::kCuda)) {
    CHECK_THROWS_AS(Tensor::zeros({2}, DType::kF32, Device::kCuda), UsageError);
    CHECK_THROWS_WITH(backend(Device::kCuda), Contains("cuda"));
  }
}

}  // namespace
}  // namespace tessera
