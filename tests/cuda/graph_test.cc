// Recorded work: what it may do, whose memory it has, which indices and keys it reads. Whole
// trainings are in recorded_training_test.cc.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <span>

#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "tests/train/temp_folder.h"
#include "train/replay.h"

namespace tessera {
namespace {

constexpr Device kCuda = Device::kCuda;

Backend& device() { return backend(kCuda); }

Tensor full(const Shape& shape, double value) {
  return Tensor::full(shape, value, DType::kF32, kCuda);
}

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

TEST_CASE("what is recorded is not done, and done as often as it is replayed") {
  const Tensor sum = full({5}, 1), more = full({5}, 2);
  const auto graph =
      device().record([&] { raw::add_(sum, raw::binary(BinaryOp::kMul, more, more)); });
  CHECK(values(sum)[0] == 1);
  graph->replay();
  CHECK(values(sum)[0] == 5);
  raw::fill_(more, 3);
  graph->replay();
  graph->replay();
  CHECK(values(sum)[4] == 23);
}

TEST_CASE("a product is recorded, too") {
  const Tensor a = full({4, 6}, 1), b = full({6, 3}, 2), c = full({4, 3}, 0);
  const auto graph = device().record([&] { raw::copy_(c, raw::matmul(a, b)); });
  CHECK(values(c)[0] == 0);
  raw::fill_(a, 3);
  graph->replay();
  CHECK(values(c)[11] == 36);
}

TEST_CASE("a recording refuses what asks the device or copies from the host") {
  const Tensor x = full({3}, 1), ids = Tensor::full({3}, 1, DType::kI64, kCuda);
  const auto later = device().host_copy(4);
  const std::function<void()> questions[] = {
      [&] { raw::select(x, 0, 0).item(); },
      [&] { raw::to(x, Device::kCpu); },
      [&] { raw::to(Tensor::zeros({3}), kCuda); },
      [&] {
        Tensor::from(std::vector<float>{1, 2}, {2}, kCuda);
      },
      [&] { raw::in_range(ids, 3); },
      [&] { raw::first_nonfinite(x); },
      [&] { device().synchronize(); },
      [&] { later->queue(x.view().data); },
  };
  for (size_t i = 0; i < std::size(questions); ++i) {
    INFO("question " << i);
    const std::string said = error_of([&] { device().record(questions[i]); });
    CHECK(said.find("a recorded step must not") != std::string::npos);
    questions[i]();  // the recording is gone, and the device answers
  }
  const std::string twice =
      error_of([&] { device().record([&] { device().record([&] { raw::fill_(x, 2); }); }); });
  CHECK(twice.find("a recording within a recording") != std::string::npos);
  CHECK(values(x)[0] == 1);
}

TEST_CASE("the memory of a graph is nobody else's while it lives") {
  constexpr int64_t kElements = 5000;
  const Tensor x = full({kElements}, 1), out = full({kElements}, 0);
  std::vector<void*> inside;
  CachingAllocator& allocator = device().allocator();
  auto graph = device().record([&] {
    const Tensor twice = raw::binary(BinaryOp::kAdd, x, x);
    const Tensor four = raw::binary(BinaryOp::kAdd, twice, twice);
    inside = {twice.view().data, four.view().data};
    raw::copy_(out, four);
  });
  const auto is_inside = [&](const Tensor& t) {
    return std::find(inside.begin(), inside.end(), t.view().data) != inside.end();
  };
  std::vector<Tensor> others;
  for (int i = 0; i < 8; ++i) {
    others.push_back(full({kElements}, 100));
    CHECK_FALSE(is_inside(others.back()));
  }
  others.clear();
  allocator.flush();
  for (int i = 0; i < 8; ++i) others.push_back(full({kElements}, 100));
  graph->replay();
  CHECK(values(out)[kElements - 1] == 4);
  for (const Tensor& other : others) CHECK(values(other)[0] == 100);

  // Another recording works where the first did: they run one after the other.
  const size_t live = allocator.stats().live_bytes;
  auto second = device().record([&] { raw::copy_(out, raw::binary(BinaryOp::kMul, x, x)); });
  CHECK(allocator.stats().live_bytes == live);
  graph.reset();
  second->replay();
  CHECK(values(out)[0] == 1);
  second.reset();
  CHECK(allocator.stats().live_bytes < live);
  others.clear();
  bool again = false;
  for (int i = 0; i < 16; ++i) {
    others.push_back(full({kElements}, 100));
    again = again || is_inside(others.back());
  }
  CHECK(again);
}

TEST_CASE("a recorded key draws the numbers of the iteration that the device was told") {
  const Tensor x = full({1000}, 1), y = full({1000}, 0);
  const auto told = [](uint32_t iteration) {
    return raw::from_bytes(std::as_bytes(std::span(&iteration, 1)), kCuda);
  };
  const Tensor iteration = told(0);
  const RandomKey key = {7, 1, 99, static_cast<const uint32_t*>(iteration.view().data)};
  const auto graph = device().record([&] { raw::copy_(y, dropout(x, 0.5, key)); });
  std::vector<float> before;
  for (const uint32_t base : {0u, 5u, 12345u}) {
    raw::copy_(iteration, told(base));
    graph->replay();
    CHECK(values(y) == values(dropout(x, 0.5, RandomKey{7, base + 1, 99})));
    CHECK(values(y) != before);
    before = values(y);
  }
}

TEST_CASE("indices that leave the range a recording found are refused") {
  const Tensor rows = full({4, 3}, 1), out = full({2, 3}, 0);
  Replay replay(kCuda, true);
  const auto take = [&](std::vector<int64_t> ids) {
    replay.run({Tensor::from(ids, {2})}, [&](const std::vector<Tensor>& in) {
      raw::copy_(out, raw::index_select(rows, 0, raw::to(in[0], kCuda)));
    });
  };
  take({0, 1});
  take({1, 2});
  take({3, 0});
  CHECK(error_of([&] { take({0, 4}); }).find("leave the range") != std::string::npos);
  CHECK(error_of([&] { take({-1, 0}); }).find("leave the range") != std::string::npos);
  take({2, 3});
}

TEST_CASE("on the device a label of no class is no Error but a loss of NaN") {
  const Tensor logits = full({2, 3}, 1);
  const auto loss = [&](int64_t label, int64_t other) {
    return cross_entropy(logits, Tensor::from(std::vector{label, other}, {2}, kCuda)).item();
  };
  CHECK(loss(0, 2) == Approx(std::log(3.0)));
  CHECK(loss(-100, 2) == Approx(std::log(3.0)));
  CHECK(std::isnan(loss(0, 3)));
  CHECK(std::isnan(loss(-1, 0)));
}

}  // namespace
}  // namespace tessera
