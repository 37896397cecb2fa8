// apply(op, inputs...): runs one differentiable op and records it when a gradient may be wanted.
// An op is a struct: attributes and saved tensors are members, forward fills them, backward reads
// them, side by side. Forward runs raw ops and returns one Tensor (or a vector of them); backward
// returns a gradient for each tensor input, undefined where node.wants(i) is false or the gradient
// went into the input's sink.
//
//   struct MulOp {
//     static constexpr const char* kName = "mul";
//     static constexpr CastPolicy kCast = kCastWidest;  // under autocast, see autocast.h
//     Saved a, b;
//     Tensor forward(Wants wants, const Tensor& a, const Tensor& b);
//     std::vector<Tensor> backward(Node& node, const Tensor& dy);
//   };
//
// An op whose output is cheap to make again from what it saved may say so with
// `bool can_recompute(int output) const` and `Tensor recompute()`: see Saved::or_maker.
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "autograd/autocast.h"
#include "autograd/tape.h"

namespace tessera {

// Which inputs want a gradient, known before forward runs, so that nothing is saved in vain.
class Wants {
 public:
  void set(int input) { bits_ |= uint64_t{1} << (input & 63); }
  bool operator[](int input) const { return (bits_ >> (input & 63)) & 1; }
  bool any() const { return bits_ != 0; }

 private:
  uint64_t bits_ = 0;
};

template <class Op>
class OpNode final : public Node {
 public:
  OpNode(Op op, int num_outputs) : Node(Op::kName, num_outputs), op_(std::move(op)) {}

  std::vector<Tensor> backward(std::vector<Tensor> douts) override {
    if constexpr (std::is_invocable_v<decltype(&Op::backward), Op&, Node&, const Tensor&>) {
      return op_.backward(*this, douts[0]);
    } else {
      return op_.backward(*this, douts);
    }
  }
  void release() override { op_ = Op(); }
  bool can_recompute(int output) const override {
    if constexpr (requires { op_.can_recompute(output); }) return op_.can_recompute(output);
    return false;
  }
  Tensor recompute() override {
    if constexpr (requires { op_.recompute(); }) return op_.recompute();
    return {};
  }

 private:
  Op op_;
};

// Puts an op that has run into the graph: outputs were computed by it from `values`, the inputs as
// forward saw them. apply() does it; so does who runs forward in a way of his own.
template <class Op>
void record(Op&& op, const std::vector<Tensor>& inputs, const std::vector<Tensor>& values,
            const std::vector<Tensor>& outputs) {
  auto node =
      std::make_shared<OpNode<std::decay_t<Op>>>(std::move(op), static_cast<int>(outputs.size()));
  node->edges.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    Edge edge = edge_of(inputs[i]);
    if (edge.node != nullptr && inputs[i].dtype() != values[i].dtype()) {
      edge.cast_from = inputs[i].dtype();
    }
    node->edges.push_back(std::move(edge));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    set_history(outputs[i], node, static_cast<int>(i));
  }
}

namespace detail {

template <class Op>
void start(const std::vector<Tensor>& values) {
  if (OpObserver* observer = op_observer()) observer->before({Op::kName, false, values, {}});
}

template <class Op, class Result>
Result finish(Op&& op, Wants wants, const std::vector<Tensor>& inputs,
              const std::vector<Tensor>& values, Result result) {
  std::vector<Tensor> outputs;
  if constexpr (std::is_same_v<Result, Tensor>) {
    outputs = {result};
  } else {
    outputs = result;
  }
  if (OpObserver* observer = op_observer()) {
    observer->after({std::decay_t<Op>::kName, false, {}, outputs});
  }
  if (wants.any()) record(std::forward<Op>(op), inputs, values, outputs);
  return result;
}

inline Wants wants_of(const std::vector<Tensor>& inputs) {
  Wants wants;
  if (!grad_enabled()) return wants;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined() && requires_grad(inputs[i])) wants.set(static_cast<int>(i));
  }
  return wants;
}

}  // namespace detail

template <class Op, class... Inputs>
requires(std::is_same_v<Inputs, Tensor>&&...) auto apply(Op op, const Inputs&... inputs) {
  const std::vector<Tensor> list{inputs...};
  const std::vector<Tensor> values = autocast_enabled() ? autocast(Op::kCast, list) : list;
  const Wants wants = detail::wants_of(list);
  detail::start<Op>(values);
  auto result = [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    return op.forward(wants, values[kIndex]...);
  }
  (std::index_sequence_for<Inputs...>());
  return detail::finish(std::move(op), wants, list, values, std::move(result));
}

// For ops on any number of tensors.
template <class Op>
auto apply(Op op, const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> values = autocast_enabled() ? autocast(Op::kCast, inputs) : inputs;
  const Wants wants = detail::wants_of(inputs);
  detail::start<Op>(values);
  auto result = op.forward(wants, values);
  return detail::finish(std::move(op), wants, inputs, values, std::move(result));
}

}  // namespace tessera
