// The tape: accumulation, what is kept and when it is dropped, misuse, depth.
#include "autograd/tape.h"

#include <pthread.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

using Catch::Contains;
using Values = std::vector<double>;

Values values(const Tensor& t) { return raw::to(t.detach(), DType::kF64).to_vector<double>(); }

Tensor leaf(const std::vector<float>& v, const Shape& shape) {
  const Tensor t = Tensor::from(v, shape);
  set_requires_grad(t);
  return t;
}
Tensor leaf(const std::vector<float>& v) { return leaf(v, {static_cast<int64_t>(v.size())}); }
Tensor random_leaf(const Shape& shape, uint32_t site) {
  const Tensor t = raw::normal(shape, RandomKey{11, 0, site});
  set_requires_grad(t);
  return t;
}

CachingAllocator& allocator() { return backend(Device::kCpu).allocator(); }
size_t live_bytes() { return allocator().stats().live_bytes; }

TEST_CASE("(a + b) + a") {
  const Tensor a = leaf({1, 2}), b = leaf({10, 20});
  backward((a + b) + a, Tensor::from(std::vector<float>{1, 3}, {2}));
  CHECK(values(grad(a)) == Values{2, 6});
  CHECK(values(grad(b)) == Values{1, 3});
}

TEST_CASE("a tensor used many times collects every use") {
  const Tensor x = leaf({3});
  Tensor y = x;
  for (int i = 0; i < 99; ++i) y = y + x;
  backward(y);
  CHECK(values(grad(x)) == Values{100});

  const Tensor w = leaf({2});
  const Tensor square = w * w;  // once as a and once as b of the same op
  backward(square * square + w);
  CHECK(values(grad(w)) == Values{33});  // 4 w^3 + 1

  const Tensor z = leaf({1, 2, 3, 4});
  const Tensor twice = z * 2.0;  // an intermediate that several views read
  backward(sum(slice(twice, 0, 0, 3) * slice(twice, 0, 1, 4)) + sum(twice));
  CHECK(values(grad(z)) == Values{2 * (4 + 1), 2 * (2 + 6 + 1), 2 * (4 + 8 + 1), 2 * (6 + 1)});
}

TEST_CASE("gradients add up over passes until they are forgotten") {
  const Tensor x = leaf({1, 2});
  for (int pass = 1; pass <= 3; ++pass) {
    backward(sum(square(x)));
    CHECK(values(grad(x)) == Values{2.0 * pass, 4.0 * pass});
  }
  zero_grad(x);
  CHECK_FALSE(grad(x).defined());
  backward(sum(x));
  CHECK(values(grad(x)) == Values{1, 1});
}

TEST_CASE("no two leaves share the memory of their gradients") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  const Tensor upstream = Tensor::full({2}, 5);
  backward(a + b, upstream);
  raw::scale_(grad(a), 0);
  CHECK(values(grad(b)) == Values{5, 5});
  CHECK(values(upstream) == Values{5, 5});
  // A gradient that was handed out is not changed by later passes.
  const Tensor before = grad(b);
  backward(a + b, upstream);
  CHECK(values(before) == Values{5, 5});
  CHECK(values(grad(b)) == Values{10, 10});
}

TEST_CASE("what backward read is dropped with the pass") {
  allocator().flush();  // what other tests left would serve with blocks of up to twice the size
  const Tensor x = random_leaf({1000}, 1), w = random_leaf({1000}, 2);
  const size_t before = live_bytes();
  Tensor y = sum(gelu(x * w) * exp(x));
  // The product, both factors of the next one, and the sum.
  CHECK(live_bytes() == before + 3 * CachingAllocator::size_class(4000) + 64);
  backward(y);
  const size_t gradients = 2 * CachingAllocator::size_class(4000);
  CHECK(live_bytes() == before + gradients + 64);  // y itself stays
  y = Tensor();
  CHECK(live_bytes() == before + gradients);
  // A graph that nobody runs backward goes with its result.
  y = sum(gelu(x * w));
  y = Tensor();
  CHECK(live_bytes() == before + gradients);
}

TEST_CASE("a second pass is an error that names the op") {
  const Tensor x = leaf({1, 2});
  const Tensor product = x * x;
  const Tensor y = sum(product);
  backward(y);
  CHECK_THROWS_WITH(backward(y), Contains("[sum]") && Contains("second time"));
  // Also for a new graph on top of what was taken apart.
  CHECK_THROWS_WITH(backward(sum(exp(product))), Contains("[mul]") && Contains("second time"));
  CHECK(values(grad(x)) == Values{2, 4});
}

TEST_CASE("there is no double backward, and it says so") {
  const Tensor x = leaf({1, 2});
  backward(sum(x * x * x));
  CHECK_FALSE(requires_grad(grad(x)));
  CHECK_THROWS_WITH(backward(sum(grad(x))), Contains("nothing that wants a gradient"));
}

TEST_CASE("an in-place write on what backward needs is an error that names the op") {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4});
  {
    const Tensor e = exp(x);  // keeps its output
    raw::fill_(e, 0);
    CHECK_THROWS_WITH(backward(sum(e)), Contains("[exp]") && Contains("overwritten"));
  }
  {
    const Tensor y = x * w;  // keeps its inputs
    raw::scale_(w, 2);
    CHECK_THROWS_WITH(backward(sum(y)), Contains("[mul]") && Contains("f32 (2,)"));
  }
  {
    const Tensor base = Tensor::full({4}, 2);  // written through another view
    const Tensor y = square(slice(base, 0, 0, 2) * x);
    raw::fill_(slice(base, 0, 3, 4), 9);
    CHECK_THROWS_AS(backward(sum(y)), Error);
  }
  {
    const Tensor y = x + w;  // keeps nothing
    zero_grad(x);
    raw::scale_(w, 2);
    backward(sum(y));
    CHECK(values(grad(x)) == Values{1, 1});
  }
}

TEST_CASE("a pass that failed leaves nothing behind") {
  const Tensor x = leaf({1, 2});
  const Tensor e = exp(x);
  const Tensor y = sum(e * e) + sum(x);
  raw::fill_(e, 0);
  CHECK_THROWS_AS(backward(y), Error);
  CHECK_THROWS_AS(backward(y), Error);  // not half a gradient in silence
  zero_grad(x);
  backward(sum(x * 3.0));
  CHECK(values(grad(x)) == Values{3, 3});
}

TEST_CASE("a pass that failed in one branch does not lame the others") {
  const Tensor x = leaf({1, 2});
  const Tensor shared = x * 2.0;
  const Tensor e = exp(x);
  const Tensor one = sum(e), other = sum(shared);
  raw::fill_(e, 0);
  // sum(shared) runs, then exp fails, x * 2 never runs.
  CHECK_THROWS_WITH(backward(one + other), Contains("[exp]"));
  zero_grad(x);
  backward(sum(shared * 5.0));
  CHECK(values(grad(x)) == Values{10, 10});
}

TEST_CASE("without grad nothing is recorded") {
  const Tensor x = leaf({1, 2});
  const size_t before = live_bytes();
  {
    const NoGrad outer;
    {
      const NoGrad inner;
      CHECK_FALSE(grad_enabled());
    }
    CHECK_FALSE(grad_enabled());
    const Tensor y = exp(exp(exp(x)));
    CHECK_FALSE(requires_grad(y));
    CHECK(live_bytes() == before + CachingAllocator::size_class(8));
    CHECK_THROWS_AS(backward(sum(y)), Error);
  }
  CHECK(grad_enabled());
  try {
    const NoGrad no_grad;
    throw Error("out of the scope");
  } catch (const Error&) {
  }
  CHECK(grad_enabled());
  CHECK(requires_grad(exp(x)));
  CHECK_FALSE(requires_grad(exp(x.detach())));
  CHECK_FALSE(requires_grad(less(x, x)));
}

TEST_CASE("who may want a gradient") {
  const Tensor x = leaf({1, 2});
  CHECK_THROWS_WITH(set_requires_grad(Tensor::zeros({2}, DType::kI64)), Contains("i64 (2,)"));
  CHECK_THROWS_WITH(set_requires_grad(x * x), Contains("not a leaf"));
  CHECK_THROWS_AS(set_requires_grad(Tensor()), Error);
  CHECK_THROWS_AS(grad(Tensor::zeros({2})), Error);
  CHECK_THROWS_AS(zero_grad(x * x), Error);
  set_requires_grad(x, false);
  CHECK_FALSE(requires_grad(x * x));
  CHECK_FALSE(requires_grad(Tensor()));
}

TEST_CASE("upstream gradients are checked") {
  const Tensor x = leaf({1, 2});
  CHECK_THROWS_WITH(backward(x * x), Contains("f32 (2,)"));
  CHECK_THROWS_WITH(backward(x * x, Tensor::zeros({3})), Contains("(3,)"));
  CHECK_THROWS_WITH(backward(x * x, Tensor::zeros({2}, DType::kF64)), Contains("f64"));
  CHECK_THROWS_AS(backward(Tensor()), Error);
  backward(x, Tensor::full({2}, 4));  // a leaf is a graph, too
  CHECK(values(grad(x)) == Values{4, 4});
}

TEST_CASE("a leaf that takes no part has no gradient") {
  const Tensor x = leaf({1}), unused = leaf({1}), slotted = leaf({1});
  set_grad_slot(slotted, Tensor::full({1}, 7));
  backward(x * 2.0);
  CHECK(grad(x).defined());
  CHECK_FALSE(grad(unused).defined());
  CHECK_FALSE(grad(slotted).defined());
}

TEST_CASE("a leaf may be gone before the pass") {
  Tensor y;
  const Tensor w = leaf({5});
  {
    const Tensor x = leaf({3});
    y = x * w;
  }
  backward(y);
  CHECK(values(grad(w)) == Values{3});
}

TEST_CASE("a gradient slot is overwritten first and added to after") {
  const Tensor x = random_leaf({6, 5}, 3);
  const Tensor w = random_leaf({4, 5}, 4), b = random_leaf({4}, 5), g = random_leaf({4}, 6);
  const std::vector<Tensor> leaves = {w, b, g};
  // w serves three times, twice in linear and once in another product; b in three ops.
  const auto loss = [&] {
    const Tensor h = layer_norm(linear(x, w, b), g, b, 1e-5);
    return sum(matmul(h, w) * x) + sum(square(b)) + sum(linear(x, w, b));
  };
  backward(loss());
  std::vector<Values> once;
  for (const Tensor& p : leaves) once.push_back(values(grad(p)));

  std::vector<Tensor> slots;
  for (const Tensor& p : leaves) {
    slots.push_back(Tensor::full(p.shape(), NAN));
    set_grad_slot(p, slots.back());
    CHECK_FALSE(grad(p).defined());
  }
  for (int round = 0; round < 2; ++round) {
    for (int pass = 1; pass <= 2; ++pass) {
      backward(loss());
      for (size_t i = 0; i < leaves.size(); ++i) {
        CHECK(grad(leaves[i]).storage() == slots[i].storage());
        const Values have = values(slots[i]);
        for (size_t k = 0; k < have.size(); ++k) {
          CHECK(have[k] == Approx(pass * once[i][k]).epsilon(1e-5).margin(1e-5));
        }
      }
    }
    for (const Tensor& p : leaves) zero_grad(p);
    for (const Tensor& s : slots) raw::fill_(s, NAN);  // no pass may read it
  }
  CHECK_THROWS_WITH(set_grad_slot(w, Tensor::zeros({5, 4})), Contains("(5, 4)"));
  CHECK_THROWS_AS(set_grad_slot(w, Tensor::zeros({4, 5}, DType::kF64)), Error);
  CHECK_THROWS_AS(set_grad_slot(w, raw::transpose(Tensor::zeros({5, 4}), 0, 1)), Error);
}

// Runs body on a thread with a stack of 128 KiB, where recursion over a graph cannot hide.
void on_small_stack(std::function<void()> body) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  REQUIRE(pthread_attr_setstacksize(&attributes, 128 * 1024) == 0);
  pthread_t thread;
  const auto run = [](void* f) -> void* {
    (*static_cast<std::function<void()>*>(f))();
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, run, &body) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST_CASE("a hundred thousand nodes deep") {
  double forwards = 0, branched = 0;
  on_small_stack([&] {
    const Tensor x = leaf({1});
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y + x;
    backward(y);
    forwards = grad(x).item();
    // Destroyed without a pass: a plain chain, and one whose links hold two edges each.
    y = x;
    for (int i = 0; i < 100000; ++i) y = neg(y);
    y = x;
    for (int i = 0; i < 100000; ++i) y = add_scalar(y, 1) * 0.5 + y * 0.5;
    y = x;
    Tensor other = x;
    for (int i = 0; i < 50000; ++i) {
      const Tensor next = y + other;
      other = y * 0.5;
      y = next * 0.5;
    }
    zero_grad(x);
    backward(y + other);
    branched = grad(x).item();
  });
  CHECK(forwards == 100001);
  CHECK(std::isfinite(branched));
}

TEST_CASE("more inputs than a machine word has bits") {
  std::vector<Tensor> parts;
  for (int i = 0; i < 150; ++i) {
    parts.push_back(Tensor::full({1}, i));
    if (i % 3 == 0) set_requires_grad(parts.back());
  }
  const Tensor all = cat(parts, 0);
  backward(sum(all * all));
  for (int i = 0; i < 150; i += 3) CHECK(grad(parts[static_cast<size_t>(i)]).item() == 2 * i);
}

TEST_CASE("gradients cross casts in the dtype of each side") {
  const Tensor x = leaf({1.5f, -2});
  const Tensor half = to(x, DType::kF16);
  backward(sum(to(half * half, DType::kF32)));
  CHECK(grad(x).dtype() == DType::kF32);
  CHECK(values(grad(x)) == Values{3, -4});
}

TEST_CASE("a cross entropy in which no row counts is NaN and moves nothing") {
  const Tensor logits = random_leaf({2, 3}, 1);
  const Tensor labels = Tensor::full({2}, -100, DType::kI64);
  const Tensor loss = cross_entropy(logits, labels);
  CHECK(std::isnan(loss.item()));
  backward(loss);
  CHECK(grad(logits).to_vector<float>() == std::vector<float>(6, 0));
}

TEST_CASE("f16 keeps the gradient of a rare token under a loss scale") {
  // e^-19, 5.6e-9, is less than half of f16's least number.
  const Tensor logits = raw::to(Tensor::from(std::vector<float>{0, -19}, {1, 2}), DType::kF16);
  set_requires_grad(logits);
  const Tensor labels = Tensor::full({1}, 0, DType::kI64);
  backward(cross_entropy(logits, labels), Tensor::full({}, 65536));
  const float rare = raw::to(grad(logits), DType::kF32).to_vector<float>()[1];
  CHECK(rare == Approx(std::exp(-19.0) * 65536).epsilon(0.01));
}

TEST_CASE("an observer sees each op and each gradient by name") {
  std::vector<std::string> seen;
  struct Witness final : OpObserver {
    std::vector<std::string>* seen = nullptr;
    std::vector<std::string> running;
    void before(const OpRun& run) override { running.push_back(run.op); }
    void after(const OpRun& run) override {
      CHECK(running.back() == run.op);
      running.pop_back();
      for (const Tensor& y : run.outputs) {
        if (y.defined())
          seen->push_back(run.op + std::string(run.backward ? " backward" : "") + describe(y));
      }
    }
  } witness;
  witness.seen = &seen;
  set_op_observer(&witness);
  const Tensor x = leaf({1, 2});
  backward(sum(exp(x)));
  set_op_observer(nullptr);
  exp(x);
  CHECK(seen == std::vector<std::string>{"expf32 (2,)", "sumf32 ()", "sum backwardf32 (2,)",
                                         "exp backwardf32 (2,)"});
}

TEST_CASE("after its second step a training loop asks the system for nothing") {
  const Tensor x = raw::normal({64, 48}, RandomKey{1, 0, 1});
  const Tensor labels = Tensor::full({64}, 3, DType::kI64);
  const Tensor w1 = random_leaf({96, 48}, 2), b1 = random_leaf({96}, 3);
  const Tensor g = random_leaf({96}, 4), w2 = random_leaf({10, 96}, 5);
  const std::vector<Tensor> parameters = {w1, b1, g, w2};
  for (const Tensor& p : parameters) set_grad_slot(p, Tensor::zeros(p.shape()));
  const auto step = [&](uint32_t iteration) {
    for (const Tensor& p : parameters) zero_grad(p);
    const Tensor h = dropout(gelu(layer_norm(linear(x, w1, b1), g, {}, 1e-6)), 0.1,
                             RandomKey{2, iteration, 1024});
    const Tensor loss = cross_entropy(linear(h, w2), labels, 0.1);
    backward(loss);
    for (const Tensor& p : parameters) {
      const Tensor change = raw::clone(grad(p));
      raw::scale_(change, -0.05);
      raw::add_(p, change);
    }
    return loss.item();
  };
  const double first = step(0);
  allocator().end_step();
  step(1);
  allocator().end_step();
  const AllocatorStats after_two = allocator().stats();
  double last = 0;
  for (uint32_t iteration = 2; iteration < 40; ++iteration) {
    last = step(iteration);
    allocator().end_step();
  }
  CHECK(allocator().stats().system_allocations == after_two.system_allocations);
  CHECK(live_bytes() == after_two.live_bytes);
  CHECK(last < first);
}

}  // namespace
}  // namespace tessera
