// The CUDA device against the CPU: the same random bits, and values and gradients within
// 1e-5 of the largest, at sizes that leave tails in every kernel and reach each of their roads.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "tests/ops/worst.h"

namespace tessera {
namespace {

constexpr int64_t kSizes[] = {1, 31, 33, 197, 257, 1030};  // around a warp, a block, a row's limit

using Tensors = std::vector<Tensor>;
using Numbers = std::vector<std::vector<double>>;
using Function = std::function<Tensor(const Tensors&)>;

Tensor random(const Shape& shape, uint32_t site) {
  return raw::normal(shape, RandomKey{9, 0, site});
}
Tensor indices(const Shape& shape, int64_t below, uint32_t site) {
  return raw::to(raw::uniform(shape, RandomKey{9, 1, site}, 0, static_cast<double>(below)),
                 DType::kI64);
}

std::vector<double> numbers(const Tensor& t) { return raw::to(t, DType::kF64).to_vector<double>(); }

// The result, then the gradients of the floating inputs, for a fixed upstream gradient.
Numbers outcome(const Function& f, const Tensors& inputs, Device device) {
  Tensors placed;
  for (const Tensor& x : inputs) {
    placed.push_back(raw::to(x, device).detach());
    if (is_floating(x.dtype())) set_requires_grad(placed.back());
  }
  const Tensor y = f(placed);
  Numbers all = {numbers(y.detach())};
  if (!is_floating(y.dtype()) || !requires_grad(y)) return all;
  backward(y, raw::to(random(y.shape(), 77), device));
  for (const Tensor& x : placed) {
    if (is_floating(x.dtype())) all.push_back(numbers(grad(x)));
  }
  return all;
}

void compare(const std::string& what, const Numbers& want, const Numbers& have) {
  REQUIRE(have.size() == want.size());
  for (size_t k = 0; k < want.size(); ++k) {
    double largest = 0, worst = 0;
    for (const double w : want[k]) largest = std::max(largest, std::fabs(w));
    for (size_t i = 0; i < want[k].size(); ++i) {
      const double error = std::fabs(have[k][i] - want[k][i]);
      if (ops_test::is_worse(error, worst)) worst = error;
    }
    INFO(what << (k == 0 ? ", result" : ", gradient ") << (k == 0 ? "" : std::to_string(k - 1))
              << ": off by " << worst << " of " << largest);
    CHECK(worst <= 1e-5 * largest);
  }
}
void compare(const std::string& what, const Function& f, const Tensors& inputs) {
  compare(what, outcome(f, inputs, Device::kCpu), outcome(f, inputs, Device::kCuda));
}

// What two good mathematical libraries may make of sqrt(-2 log u) cos(angle), u and angle being the
// same bits. Of 2^-52 of the result, each of the two sides counted: log 1 and 1, halved by the
// root; the root 1/2 and 1/2; sine or cosine 2 (CUDA's manual) and 1 (glibc's); the product 1/2 and
// 1/2.
constexpr double kNormalsApart = 1 + 1 + 3 + 1;

TEST_CASE("random bits and uniforms are the CPU's, normals as near as the libraries' functions") {
  const RandomKey key{42, 3, 1024};
  for (const int64_t n : kSizes) {
    for (const DType dtype : {DType::kF32, DType::kF64}) {
      const auto draw = [&](auto* function, Device device) {
        return raw::to(function({n}, key, 0, 1, dtype, device), DType::kF64)
            .template to_vector<double>();
      };
      CHECK(draw(raw::uniform, Device::kCuda) == draw(raw::uniform, Device::kCpu));
      const auto want = draw(raw::normal, Device::kCpu), have = draw(raw::normal, Device::kCuda);
      for (size_t i = 0; i < want.size(); ++i) {
        // Two f64 numbers so near round to the same f32 or to its neighbour.
        const double bound = dtype == DType::kF32 ? 0x1p-23 * std::exp2(std::ilogb(want[i]))
                                                  : kNormalsApart * 0x1p-52 * std::fabs(want[i]);
        CHECK(std::fabs(have[i] - want[i]) <= bound);
      }
    }
    for (const int64_t group : {int64_t{1}, int64_t{3}, n}) {
      const Tensor x = Tensor::full({n}, 1);
      const Tensor cuda_x = raw::to(x, Device::kCuda);
      const Tensor y = Tensor::zeros({n}), cuda_y = raw::to(y, Device::kCuda);
      x.backend().dropout(key, 0.4, group, x.view(), y.view());
      cuda_x.backend().dropout(key, 0.4, group, cuda_x.view(), cuda_y.view());
      CHECK(cuda_y.to_vector<float>() == y.to_vector<float>());
    }
  }
}

TEST_CASE("copies from one device to the other convert nothing") {
  const Tensor host = random({3, 4}, 1), across = random({4, 3}, 2);
  const Tensor there = Tensor::zeros({3, 4}, DType::kF32, Device::kCuda);
  raw::copy_(there, host);
  CHECK(there.to_vector<float>() == host.to_vector<float>());
  raw::copy_(there, raw::transpose(across, 0, 1));
  CHECK(there.to_vector<float>() == raw::transpose(across, 0, 1).to_vector<float>());
  const Tensor back = Tensor::zeros({3, 4});
  raw::copy_(back, there);
  CHECK(back.to_vector<float>() == there.to_vector<float>());
  CHECK_THROWS_WITH(raw::copy_(raw::transpose(there, 0, 1), across), Catch::Contains("[copy_]"));
  CHECK_THROWS_WITH(raw::copy_(there, raw::to(host, DType::kBF16)), Catch::Contains("[copy_]"));
}

TEST_CASE("rows") {
  for (const int64_t n : kSizes) {
    const std::string size = "n " + std::to_string(n);
    const Tensor x = random({3, 7, n}, 1), w = random({n}, 2), b = random({n}, 3);
    compare("softmax " + size, [](const Tensors& in) { return softmax(in[0], -1); }, {x});
    compare("log_softmax " + size, [](const Tensors& in) { return log_softmax(in[0], -1); }, {x});
    // Far below 0, where the padding behind a row's end must not count as its largest element.
    const Tensor low = raw::unary(UnaryOp::kAddScalar, x, {-500, 0});
    compare("softmax far below 0, " + size, [](const Tensors& in) { return softmax(in[0], -1); },
            {low});
    compare("log_softmax far below 0, " + size,
            [](const Tensors& in) { return log_softmax(in[0], -1); }, {low});
    if (n > 1) {  // the gradient of a row of one element is rounding alone
      compare("layer_norm " + size,
              [](const Tensors& in) { return layer_norm(in[0], in[1], in[2], 1e-6); }, {x, w, b});
    }
    if (n > 1) {
      compare("add_layer_norm " + size,
              [](const Tensors& in) {
                const NormedSum s = add_layer_norm(in[0], in[1], in[2], in[3], 1e-6);
                return s.sum + s.normed;
              },
              {x, random({3, 7, n}, 8), w, b});
    }
    compare("bias_gelu " + size, [](const Tensors& in) { return bias_gelu(in[0], in[1]); }, {x, b});
    compare("cross_entropy " + size,
            [](const Tensors& in) { return cross_entropy(in[0], in[1], 0.1); },
            {random({21, n}, 4), indices({21}, n, 5)});
    compare("cumsum " + size, [](const Tensors& in) { return cumsum(in[0], 2); }, {x});
    compare("cumsum across " + size, [](const Tensors& in) { return cumsum(in[0], 0); },
            {random({n, 5}, 6)});
    compare("argsort " + size, [](const Tensors& in) { return argsort(in[0], 2); }, {x});
    compare("argsort across " + size, [](const Tensors& in) { return argsort(in[0], 0); },
            {random({n, 5}, 6)});
    compare("argmax " + size, [](const Tensors& in) { return argmax(in[0], 2); }, {x});
    compare("argmax across " + size, [](const Tensors& in) { return argmax(in[0], 0); },
            {random({n, 5}, 6)});
  }
  // Beyond one run of the sort, with equal values.
  compare("argsort of 5000", [](const Tensors& in) { return argsort(in[0], 1); },
          {raw::to(indices({2, 5000}, 300, 7), DType::kF32)});
}

TEST_CASE("reductions") {
  for (const int64_t n : {int64_t{1}, int64_t{33}, int64_t{257}, int64_t{40001}}) {
    const std::string size = "n " + std::to_string(n);
    compare("sum " + size, [](const Tensors& in) { return sum(in[0], {1}); }, {random({3, n}, 1)});
    compare("sum across " + size, [](const Tensors& in) { return sum(in[0], {1}); },
            {random({2, n, 5}, 1)});
    compare("amax " + size, [](const Tensors& in) { return amax(in[0], {1}); },
            {random({3, n}, 1)});
  }
}

TEST_CASE("layouts") {
  for (const int64_t n : kSizes) {
    const std::string size = "n " + std::to_string(n);
    compare("add across " + size, [](const Tensors& in) { return in[0] + transpose(in[1], 0, 1); },
            {random({35, n}, 1), random({n, 35}, 2)});
    compare("turned copy " + size,
            [](const Tensors& in) {
              return reshape(permute(in[0], {2, 0, 1}), {-1});
            },
            {random({3, 40, n}, 1)});
    compare("cast " + size,
            [](const Tensors& in) { return to(to(in[0], DType::kBF16), DType::kF32); },
            {random({n, 3}, 1)});
  }
}

TEST_CASE("indexing") {
  for (const int64_t n : kSizes) {
    const std::string size = "n " + std::to_string(n);
    compare("gather " + size, [](const Tensors& in) { return gather(in[0], 1, in[1]); },
            {random({2, n, 3}, 1), indices({2, 40, 3}, n, 2)});
    compare("embedding " + size, [](const Tensors& in) { return embedding(in[0], in[1]); },
            {random({n, 12}, 1), indices({700}, n, 2)});
    compare("place_tokens " + size,
            [](const Tensors& in) { return place_tokens(in[0], in[1], in[3], in[2], in[4]); },
            {random({2, 9, n}, 1), random({n}, 2), random({11, n}, 3), indices({2, 23}, 10, 4),
             indices({2, 23}, 11, 5)});
    compare("patch_loss " + size,
            [n](const Tensors& in) {
              const Tensor imgs = raw::to(random({2, n, 4, 6}, 2), in[0].device());
              return patch_loss(in[0], imgs, in[1], 2, true);
            },
            {random({2, 5, 4 * n}, 1), indices({2, 5}, 6, 3)});
    compare("scatter_add " + size,
            [](const Tensors& in) { return scatter_add(in[0], 1, in[1], in[2]); },
            {random({2, n}, 1), indices({2, 600}, n, 2), random({2, 600}, 3)});
  }
}

TEST_CASE("attention") {
  // Of a single key the gradients of q, k and the bias are rounding alone.
  for (const int64_t n : {int64_t{2}, int64_t{31}, int64_t{33}, int64_t{65}}) {
    for (const int64_t d : {int64_t{5}, int64_t{32}, int64_t{72}}) {
      const Tensor q = random({2, 3, n, d}, 1), k = random({2, 3, n, d}, 2);
      compare("attention " + std::to_string(n) + " by " + std::to_string(d),
              [](const Tensors& in) { return attention(in[0], in[1], in[2], in[3], 0.3); },
              {q, k, random({2, 3, n, d}, 3), random({3, n, n}, 4)});
    }
  }
}

TEST_CASE("products with a bias") {
  for (const int64_t n : kSizes) {
    const std::string size = "n " + std::to_string(n);
    const auto f = [](const Tensors& in) { return linear(in[0], in[1], in[2]); };
    compare("linear from " + size, f, {random({3, 7, n}, 1), random({29, n}, 2), random({29}, 3)});
    if (n > 1) {  // the gradient of a single bias is a single sum, which may be near 0
      compare("linear to " + size, f, {random({3, 7, 29}, 1), random({n, 29}, 2), random({n}, 3)});
    }
  }
}

TEST_CASE("convolutions") {
  struct Case {
    Shape x, w;
    int64_t stride, padding, dilation, groups;
  };
  const Case cases[] = {{{2, 3, 17, 13}, {5, 3, 3, 3}, 1, 1, 1, 1},
                        {{2, 3, 17, 13}, {5, 3, 4, 3}, 2, 1, 1, 1},
                        {{1, 6, 11, 9}, {9, 2, 3, 3}, 1, 2, 2, 3},
                        {{2, 33, 7, 5}, {31, 33, 1, 1}, 1, 0, 1, 1},
                        {{3, 3, 15, 20}, {7, 3, 5, 5}, 5, 0, 1, 1}};
  for (const Case& c : cases) {
    const std::string size = describe(Tensor::empty(c.w)) + " over " + describe(Tensor::empty(c.x));
    compare("conv2d " + size,
            [&](const Tensors& in) {
              return conv2d(in[0], in[1], in[2], c.stride, c.padding, c.dilation, c.groups);
            },
            {random(c.x, 1), random(c.w, 2), random({c.w[0]}, 3)});
  }
  compare("conv_transpose2d",
          [](const Tensors& in) { return conv_transpose2d(in[0], in[1], in[2], 2, 1, 1); },
          {random({2, 5, 7, 6}, 1), random({5, 3, 3, 3}, 2), random({3}, 3)});
}

TEST_CASE("pooling and resizing") {
  const Tensor x = random({2, 3, 17, 13}, 1);
  for (const auto& [kernel, stride] : {std::pair{2, 2}, {3, 2}, {5, 3}}) {
    compare("max_pool2d of " + std::to_string(kernel),
            [k = kernel, s = stride](const Tensors& in) { return max_pool2d(in[0], k, s); }, {x});
  }
  for (const auto mode :
       {InterpolateMode::kNearest, InterpolateMode::kBilinear, InterpolateMode::kBicubic}) {
    for (const auto& [height, width] : {std::pair{31, 29}, {7, 5}, {17, 33}}) {
      const bool smooth = mode != InterpolateMode::kNearest;
      compare("interpolate to " + std::to_string(height) + " x " + std::to_string(width),
              [=, h = height, w = width](const Tensors& in) {
                return interpolate(in[0], h, w, mode, false, smooth && h < 17);
              },
              {x});
    }
  }
}

// Weights, both moments and the average after one update; the gaps between segments stay.
Numbers after_adamw(const Tensors& arenas, const std::vector<AdamWSegment>& segments,
                    Device device) {
  Tensors placed;
  for (const Tensor& arena : arenas) placed.push_back(raw::to(raw::clone(arena), device));
  StepState state;
  state.lr = 1e-2;
  state.grad_scale = 0.25;
  state.correction1 = 1 - std::pow(0.9, 3);
  state.correction2 = 1 - std::pow(0.95, 3);
  state.average_decay = 0.75;
  const Tensor state_bytes = raw::from_bytes(std::as_bytes(std::span(&state, 1)), device);
  const Tensor segment_bytes = raw::from_bytes(std::as_bytes(std::span(segments)), device);
  AdamWArgs args;
  args.param = placed[0].view();
  args.grad = placed[1].view();
  args.exp_avg = placed[2].view();
  args.exp_avg_sq = placed[3].view();
  args.average = placed[4].view();
  args.segments = static_cast<const AdamWSegment*>(segment_bytes.view().data);
  args.segment_count = std::ssize(segments);
  args.state = static_cast<const StepState*>(state_bytes.view().data);
  args.beta2 = 0.95;
  backend(device).adamw(args);
  Numbers all;
  for (const Tensor& arena : placed) all.push_back(numbers(arena));
  return all;
}

TEST_CASE("an update of AdamW") {
  for (const int64_t n : kSizes) {
    const int64_t half = n / 32 * 16;
    std::vector<AdamWSegment> segments = {{half, n, 0.05f, 0.5f}};
    if (half > 0) segments.insert(segments.begin(), {0, half - 5, 0, 1});
    const Tensor v = random({n}, 4);
    const Tensors arenas = {random({n}, 1), random({n}, 2), random({n}, 3),
                            raw::binary(BinaryOp::kMul, v, v), random({n}, 5)};
    const Numbers want = after_adamw(arenas, segments, Device::kCpu);
    CHECK(want[0] != numbers(arenas[0]));
    compare("AdamW of n " + std::to_string(n), want, after_adamw(arenas, segments, Device::kCuda));
  }
}

TEST_CASE("a device without room says what asked and what is held") {
  const Tensor held = Tensor::zeros({1000}, DType::kF32, Device::kCuda);
  CHECK_THROWS_WITH(Tensor::empty({int64_t{1} << 50}, DType::kBF16, Device::kCuda),
                    Catch::Contains("out of memory") && Catch::Contains("in use") &&
                        Catch::Contains("bf16 (1125899906842624,) on cuda"));
}

TEST_CASE("indices that came from the host are known to be good or bad") {
  const Tensor host = Tensor::from(std::vector<int64_t>{3, 0, 2}, {3});
  for (const Tensor& index : {raw::to(host, Device::kCuda),
                              Tensor::from(std::vector<int64_t>{3, 0, 2}, {3}, Device::kCuda)}) {
    CHECK(index.storage()->known_below(4));
    CHECK_FALSE(index.storage()->known_below(3));
    const Tensor x = Tensor::zeros({3, 2}, DType::kF32, Device::kCuda);
    CHECK_THROWS_WITH(raw::index_select(x, 0, index), Catch::Contains("leaves dimension 0"));
    raw::fill_(index, 7);  // and no longer, once it is overwritten
    CHECK_FALSE(index.storage()->known_below(8));
    CHECK(raw::in_range(index, 8));
    CHECK_FALSE(raw::in_range(index, 7));
  }
  CHECK_FALSE(argsort(Tensor::zeros({4}, DType::kF32, Device::kCuda), 0).storage()->known_below(4));
}

TEST_CASE("a loop of one shape asks the device for nothing after its second step") {
  CachingAllocator& allocator = backend(Device::kCuda).allocator();
  uint64_t asked = 0;
  for (int step = 0; step < 5; ++step) {
    const auto f = [](const Tensors& in) { return layer_norm(in[0], in[1], in[2], 1e-6); };
    outcome(f, {random({64, 48}, 1), random({48}, 2), random({48}, 3)}, Device::kCuda);
    allocator.end_step();
    if (step == 1) asked = allocator.stats().system_allocations;
  }
  CHECK(allocator.stats().system_allocations == asked);
}

}  // namespace
}  // namespace tessera
