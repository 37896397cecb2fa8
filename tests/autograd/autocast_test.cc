// Autocast: what each policy makes of its inputs, where gradients arrive, and shadows of weights.
#include "autograd/autocast.h"

#include <catch2/catch.hpp>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera {
namespace {

Tensor leaf(const Shape& shape, uint32_t site) {
  const Tensor t = raw::normal(shape, RandomKey{7, 0, site});
  set_requires_grad(t);
  return t;
}

TEST_CASE("the four policies") {
  const Tensor x = leaf({4, 8}, 1), w = leaf({3, 8}, 2), b = leaf({3}, 3), scale = leaf({8}, 4);
  const Autocast autocast(DType::kBF16);
  const Tensor y = linear(x, w, b);
  CHECK(y.dtype() == DType::kBF16);
  CHECK(layer_norm(x, scale, scale, 1e-6).dtype() == DType::kBF16);  // inside f32, out low
  CHECK((y + b).dtype() == DType::kF32);                             // widest
  CHECK((y + y).dtype() == DType::kBF16);
  CHECK(exp(y).dtype() == DType::kF32);
  CHECK(sum(y).dtype() == DType::kF32);
  CHECK(gelu(y).dtype() == DType::kBF16);
  CHECK(bias_gelu(y, b).dtype() == DType::kBF16);
  const NormedSum stream = add_layer_norm(x, raw::to(x, DType::kBF16), scale, scale, 1e-6);
  CHECK(stream.sum.dtype() == DType::kF32);
  CHECK(stream.normed.dtype() == DType::kBF16);
  CHECK(reshape(x, {8, 4}).dtype() == DType::kF32);

  // A checking dtype stays what it is.
  const Tensor x64 = raw::to(x, DType::kF64), w64 = raw::to(w, DType::kF64);
  CHECK(linear(x64, w64).dtype() == DType::kF64);
}

TEST_CASE("autocast ends with its scope and can be switched off inside") {
  const Tensor x = leaf({2, 8}, 1), w = leaf({3, 8}, 2);
  {
    const Autocast on(DType::kF16);
    CHECK(linear(x, w).dtype() == DType::kF16);
    {
      const Autocast off(DType::kF32);
      CHECK_FALSE(autocast_enabled());
      CHECK(linear(x, w).dtype() == DType::kF32);
    }
    CHECK(autocast_dtype() == DType::kF16);
  }
  CHECK(linear(x, w).dtype() == DType::kF32);
  CHECK_THROWS_WITH(Autocast(DType::kF64), Catch::Contains("[autocast]"));
}

TEST_CASE("a layer norm of the f32 stream does not round what it reads") {
  // 1000 + i / 8 needs 13 bits: in bf16 all rows would be one number and the norm 0.
  std::vector<float> values(16);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 1000 + static_cast<float>(i) / 8;
  const Tensor x = Tensor::from(values, {1, 16});
  const Autocast autocast(DType::kBF16);
  const Tensor y = raw::to(layer_norm(x, {}, {}, 1e-6), DType::kF32);
  const Tensor want = [&] {
    const Autocast off(DType::kF32);
    return layer_norm(x, {}, {}, 1e-6);
  }();
  for (int i = 0; i < 16; ++i) {
    CHECK(y.data<float>()[i] == Approx(want.data<float>()[i]).epsilon(0x1p-8));
  }
}

TEST_CASE("weights' gradients are summed in f32 and land in their slots") {
  const Tensor x = raw::normal({64, 32}, RandomKey{7, 0, 1}), w = leaf({16, 32}, 2);
  const Tensor slot = Tensor::full({16, 32}, 77);
  set_grad_slot(w, slot);
  const Tensor dy = raw::normal({64, 16}, RandomKey{7, 0, 3});
  {
    const Autocast autocast(DType::kBF16);
    backward(linear(x, w), raw::to(dy, DType::kBF16));
  }
  CHECK(grad(w).storage() == slot.storage());
  const auto half = [](const Tensor& t) { return raw::to(raw::to(t, DType::kBF16), DType::kF64); };
  const Tensor want = raw::matmul(raw::transpose(half(dy), 0, 1), half(x));
  for (int i = 0; i < 16 * 32; ++i) {  // no rounding to bf16 anywhere behind the operands
    CHECK(slot.data<float>()[i] == Approx(want.data<double>()[i]).epsilon(1e-5).margin(1e-5));
  }
}

TEST_CASE("a bias is rounded for its product, and its gradient is not") {
  const Tensor x = raw::normal({64, 32}, RandomKey{7, 0, 1}), w = leaf({16, 32}, 2);
  const Tensor b = leaf({16}, 4);
  const Tensor dy = raw::to(raw::normal({64, 16}, RandomKey{7, 0, 3}), DType::kBF16);
  const Tensor want = raw::sum(raw::to(dy, DType::kF64), {0}, false);
  const auto check = [&](const Tensor& y) {
    backward(y, dy);
    CHECK(grad(b).dtype() == DType::kF32);
    for (int i = 0; i < 16; ++i) {
      CHECK(grad(b).data<float>()[i] == Approx(want.data<double>()[i]).epsilon(1e-5).margin(1e-5));
    }
    zero_grad(b);
  };
  const auto low = [](const Tensor& t) { return raw::to(t, DType::kBF16); };
  {
    const Autocast autocast(DType::kBF16);
    const Tensor y = linear(x, w, b), by_hand = raw::linear(low(x), low(w), low(b));
    CHECK(raw::to(y.detach(), DType::kF32).to_vector<float>() ==
          raw::to(by_hand, DType::kF32).to_vector<float>());
    check(y);
  }
  check(linear(low(x), low(w), b));  // a caller's own mixture, without autocast
}

TEST_CASE("a weight is cast once, until it changes") {
  const Tensor w = leaf({4, 4}, 1);
  const Tensor first = low_copy(w, DType::kBF16);
  CHECK(low_copy(w, DType::kBF16).is_same(first));
  raw::scale_(w, 2);
  const Tensor second = low_copy(w, DType::kBF16);
  CHECK(second.storage() == first.storage());
  CHECK(second.data<BFloat16>()[3].bits == BFloat16(w.data<float>()[3]).bits);
  CHECK(low_copy(w, DType::kF16).dtype() == DType::kF16);

  const Tensor given = raw::to(w, DType::kBF16);
  set_shadow(w, given);
  CHECK(low_copy(w, DType::kBF16).is_same(given));
  CHECK_THROWS_WITH(set_shadow(w, Tensor::zeros({4, 4})), Catch::Contains("[set_shadow]"));
}

TEST_CASE("a shadow overwritten between forward and backward is noticed") {
  const Tensor x = leaf({2, 4}, 1), w = leaf({4, 4}, 2);
  const Tensor shadow = raw::to(w, DType::kBF16);
  set_shadow(w, shadow);
  const Autocast autocast(DType::kBF16);
  const Tensor y = linear(x, w);
  raw::fill_(shadow, 0);
  CHECK_THROWS_WITH(backward(sum(y)),
                    Catch::Contains("[linear]") && Catch::Contains("overwritten"));
}

}  // namespace
}  // namespace tessera
