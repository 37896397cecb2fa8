// One node whose backward is a forward and a backward of its own.
#include "nn/checkpointed.h"

#include <optional>

#include "autograd/apply.h"
#include "nn/step_random.h"

namespace tessera {
namespace {

struct CheckpointedOp {
  static constexpr const char* kName = "checkpointed";
  BlockFunction block;
  Saved x;
  DType precision = DType::kF32;
  std::optional<RandomKey> random;

  Tensor forward(const Tensor& in) {
    const NoGrad no_grad;
    x = Saved(in);
    precision = autocast_dtype();
    random = StepRandom::place();
    return block(in.detach());
  }

  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    const Tensor in = x.get(kName).detach();
    if (node.wants(0)) set_requires_grad(in);
    {
      const WithGrad with_grad;
      const Autocast autocast(precision);
      std::optional<StepRandom> replay;
      if (random) replay.emplace(*random);
      tessera::backward(block(in), dy);
    }
    return {node.wants(0) ? grad(in) : Tensor()};
  }
};

}  // namespace

Tensor checkpointed(const BlockFunction& block, const Tensor& x) {
  if (!grad_enabled()) return block(x);
  CheckpointedOp op;
  op.block = block;
  Tensor y = op.forward(x);
  // Recorded whether or not x wants a gradient: the block's parameters may.
  record(std::move(op), {x}, {x}, {y});
  return y;
}

}  // namespace tessera
