// A tower of blocks, whose sums are made by the next norm, by themselves, or with checkpointed
// blocks: the same bits, in every precision and with drop path, for parameters, inputs and frozen
// inputs alike; and checkpointing keeps less.
#include "nn/checkpointed.h"

#include <catch2/catch.hpp>

#include "autograd/autocast.h"
#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "nn/step_random.h"
#include "nn/transformer.h"

namespace tessera {
namespace {

struct Result {
  std::vector<std::vector<float>> gradients;  // of the parameters, then of x
  std::vector<float> y;
  size_t kept = 0;  // bytes alive between forward and backward
};

enum class Way { kStream, kBlockByBlock, kCheckpointed };

Tensor through(const ModuleList<TransformerBlock>& blocks, Way way, const Tensor& x) {
  Stream stream{x};
  for (const TransformerBlock& block : blocks) {
    const auto step = [&block](const Tensor& in) { return block(in); };
    if (way == Way::kStream) stream = block(stream);
    if (way == Way::kBlockByBlock) stream = {step(stream.x)};
    if (way == Way::kCheckpointed) stream = {checkpointed(step, stream.x)};
  }
  return stream.sum();
}

Result run(Way way, DType precision, bool x_wants) {
  ModuleList<TransformerBlock> blocks;
  for (int i = 0; i < 3; ++i)
    blocks.append(BlockOptions{.dim = 32, .heads = 4, .mlp_hidden = 128, .drop_path = 0.3});
  uint32_t site = 0;
  blocks.visit([&](const std::string&, Tensor& t, StateKind) {
    raw::copy_(t, raw::normal(t.shape(), RandomKey{3, 0, site++}, 0, 0.2));
  });
  Tensor x = raw::normal({6, 10, 32}, RandomKey{3, 1, 0});
  const Tensor input = x;
  if (x_wants) set_requires_grad(x);
  for (const NamedTensor& p : blocks.named_parameters()) {
    low_copy(p.tensor,
             precision == DType::kF16 ? DType::kF16 : DType::kBF16);  // is kept either way
  }
  CachingAllocator& allocator = backend(Device::kCpu).allocator();
  const StepRandom random(5, 9);
  const Autocast autocast(precision);
  allocator.flush();  // a larger block would serve, and count for what it is
  const size_t before = allocator.stats().live_bytes;
  x = through(blocks, way, x);
  const Tensor loss = sum(mul_scalar(x, 0.01));
  Result result;
  result.kept = allocator.stats().live_bytes - before;
  result.y = x.to_vector<float>();
  backward(loss);
  for (const NamedTensor& p : blocks.named_parameters()) {
    REQUIRE(grad(p.tensor).defined());
    result.gradients.push_back(grad(p.tensor).to_vector<float>());
  }
  if (x_wants) result.gradients.push_back(grad(input).to_vector<float>());
  return result;
}

TEST_CASE("a stream and checkpointed blocks give the bits of block by block; these keep less") {
  for (const DType precision : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const bool x_wants : {true, false}) {
      INFO(name_of(precision) << (x_wants ? "" : ", frozen input"));
      const Result plain = run(Way::kBlockByBlock, precision, x_wants);
      const Result stream = run(Way::kStream, precision, x_wants);
      CHECK(stream.y == plain.y);
      CHECK(stream.gradients == plain.gradients);
      // One tensor more in each half of a block would be 12 %; which blocks serve is less.
      CHECK(double(stream.kept) == Approx(double(plain.kept)).epsilon(0.05));
      const Result checkpointed = run(Way::kCheckpointed, precision, x_wants);
      CHECK(checkpointed.y == plain.y);
      CHECK(checkpointed.gradients == plain.gradients);
      CHECK(checkpointed.kept * 4 < plain.kept);
    }
  }
}

TEST_CASE("without gradients a checkpointed block is the block") {
  const NoGrad no_grad;
  const Tensor x = raw::normal({2, 3}, RandomKey{3, 1, 0});
  const Tensor y = checkpointed([](const Tensor& in) { return gelu(in); }, x);
  CHECK(y.to_vector<float>() == gelu(x).to_vector<float>());
  CHECK_FALSE(requires_grad(y));
}

}  // namespace
}  // namespace tessera
