// Leaves, histories, and the backward pass.
#include "autograd/tape.h"

#include <atomic>
#include <queue>
#include <utility>

#include "autograd/variable.h"
#include "engine/raw.h"

namespace tessera {
namespace {

thread_local bool recording = true;

std::atomic<uint64_t>& next_sequence() {
  static std::atomic<uint64_t> next{0};
  return next;
}

// The end of the road for a leaf. It holds no leaf alive: a leaf that is gone needs no gradient.
class Accumulator final : public Node {
 public:
  Accumulator(std::weak_ptr<AutogradMeta> leaf, Shape shape, DType dtype)
      : Node("accumulate", 1), leaf_(std::move(leaf)), shape_(shape), dtype_(dtype) {}

  std::vector<Tensor> backward(std::vector<Tensor>) override { return {}; }
  void release() override {}

  void arrive(const char* from, Tensor dx) {
    const auto meta = leaf_.lock();
    if (meta == nullptr) return;
    TESSERA_CHECK(dx.shape() == shape_ && dx.dtype() == dtype_,
                  "[{}] backward gave a gradient {} for a leaf {} {}", from, describe(dx),
                  name_of(dtype_), shape_);
    auto& leaf = static_cast<Variable&>(*meta);
    if (leaf.arrived) {
      // A slot nobody else holds is added to in place; one that was handed out is replaced.
      if (leaf.has_slot || (leaf.slot.is_unshared() && leaf.slot.is_contiguous())) {
        raw::add_(leaf.slot, dx);
      } else {
        leaf.slot = raw::binary(BinaryOp::kAdd, leaf.slot, dx);
      }
    } else if (leaf.has_slot) {
      raw::copy_(leaf.slot, dx);
    } else {
      // Moved in when nobody else holds it: add's backward hands one tensor to both its inputs.
      leaf.slot = dx.is_unshared() && dx.is_contiguous() ? std::move(dx) : raw::clone(dx);
    }
    leaf.arrived = true;
  }

  bool sink(GradSink* sink) {
    const auto meta = leaf_.lock();
    if (meta == nullptr) return false;
    auto& leaf = static_cast<Variable&>(*meta);
    if (!leaf.has_slot) return false;
    *sink = {leaf.slot, leaf.arrived ? 1.0 : 0.0};
    leaf.arrived = true;
    return true;
  }

 private:
  std::weak_ptr<AutogradMeta> leaf_;
  Shape shape_;
  DType dtype_;
};

struct LaterFirst {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->sequence < b->sequence;
  }
};
// Nodes with gradients that wait for their turn. A pass that fails takes those gradients along: a
// node that keeps half a sum would never be reached again.
class Ready : public std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>,
                                         LaterFirst> {
 public:
  ~Ready() {
    for (const std::shared_ptr<Node>& node : c) node->douts.clear();
  }
};

void deliver(const char* from, const Edge& edge, Tensor dx, Ready* ready) {
  if (auto* accumulator = dynamic_cast<Accumulator*>(edge.node.get())) {
    accumulator->arrive(from, std::move(dx));
    return;
  }
  Node& node = *edge.node;
  TESSERA_CHECK(!node.released,
                "backward reached [{}] a second time: its saved tensors are gone; run forward "
                "again (there is no double backward)",
                node.name);
  if (node.douts.empty()) {
    node.douts.resize(static_cast<size_t>(node.num_outputs));
    ready->push(edge.node);
  }
  Tensor& slot = node.douts[static_cast<size_t>(edge.output)];
  if (!slot.defined()) {
    slot = std::move(dx);
  } else if (slot.is_unshared() && slot.is_contiguous()) {
    raw::add_(slot, dx);
  } else {
    slot = raw::binary(BinaryOp::kAdd, slot, dx);
  }
}

OpObserver* observer = nullptr;
const std::vector<Tensor> kNoTensors;

}  // namespace

Node::Node(const char* node_name, int outputs)
    : name(node_name), sequence(next_sequence().fetch_add(1)), num_outputs(outputs) {}

// A long chain is taken down in a loop: each node hands the nodes it was the last to hold to the
// outermost destructor instead of recursing into theirs.
Node::~Node() {
  thread_local std::vector<std::shared_ptr<Node>> orphans;
  thread_local bool draining = false;
  for (Edge& edge : edges) {
    if (edge.node != nullptr) orphans.push_back(std::move(edge.node));
  }
  if (draining) return;
  draining = true;
  while (!orphans.empty()) {
    std::shared_ptr<Node> last = std::move(orphans.back());
    orphans.pop_back();
  }
  draining = false;
}

bool Node::take_sink(int input, GradSink* sink) const {
  auto* accumulator = dynamic_cast<Accumulator*>(edges[static_cast<size_t>(input)].node.get());
  return accumulator != nullptr && accumulator->sink(sink);
}

bool requires_grad(const Tensor& t) { return t.defined() && variable_of(t) != nullptr; }

void set_requires_grad(const Tensor& t, bool value) {
  TESSERA_CHECK(t.defined() && is_floating(t.dtype()),
                "[set_requires_grad] needs a floating tensor, this is {}", describe(t));
  const Variable* v = variable_of(t);
  TESSERA_CHECK(v == nullptr || v->leaf, "[set_requires_grad] {} is computed, not a leaf",
                describe(t));
  if (!value) {
    t.set_autograd_meta(nullptr);
  } else if (v == nullptr) {
    auto leaf = std::make_shared<Variable>();
    leaf->leaf = true;
    leaf->node = std::make_shared<Accumulator>(leaf, t.shape(), t.dtype());
    t.set_autograd_meta(std::move(leaf));
  }
}

namespace {
Variable& leaf_of(const char* op, const Tensor& t) {
  Variable* v = t.defined() ? variable_of(t) : nullptr;
  TESSERA_CHECK(v != nullptr && v->leaf, "[{}] {} is not a leaf that wants a gradient", op,
                describe(t));
  return *v;
}
}  // namespace

Tensor grad(const Tensor& leaf) {
  const Variable& v = leaf_of("grad", leaf);
  return v.arrived ? v.slot : Tensor();
}

void set_grad_slot(const Tensor& leaf, const Tensor& slot) {
  Variable& v = leaf_of("set_grad_slot", leaf);
  TESSERA_CHECK(slot.defined() && slot.shape() == leaf.shape() && slot.dtype() == leaf.dtype() &&
                    slot.device() == leaf.device() && slot.is_contiguous(),
                "[set_grad_slot] slot {} does not fit leaf {}", describe(slot), describe(leaf));
  v.slot = slot;
  v.has_slot = true;
  v.arrived = false;
}

void zero_grad(const Tensor& leaf) {
  Variable& v = leaf_of("zero_grad", leaf);
  v.arrived = false;
  if (!v.has_slot) v.slot = Tensor();
}

bool grad_enabled() { return recording; }
NoGrad::NoGrad() : before_(recording) { recording = false; }
NoGrad::~NoGrad() { recording = before_; }
WithGrad::WithGrad() : before_(recording) { recording = true; }
WithGrad::~WithGrad() { recording = before_; }

void set_op_observer(OpObserver* new_observer) { observer = new_observer; }
OpObserver* op_observer() { return observer; }

ObservedWork::ObservedWork(const char* name) : run_{name, false, kNoTensors, kNoTensors} {
  if (observer != nullptr) observer->before(run_);
}
ObservedWork::~ObservedWork() {
  if (observer != nullptr) observer->after(run_);
}

Edge edge_of(const Tensor& t) {
  if (!t.defined()) return {};
  const Variable* v = variable_of(t);
  return v == nullptr ? Edge{} : Edge{v->node, v->output, {}};
}

void set_history(const Tensor& t, std::shared_ptr<Node> node, int output) {
  auto v = std::make_shared<Variable>();
  v->node = std::move(node);
  v->output = output;
  t.set_autograd_meta(std::move(v));
}

// The node takes its gradients along, so that it may write over what nobody else holds.
static std::vector<Tensor> run_backward(Node& node) {
  if (observer != nullptr) observer->before({node.name, true, node.douts, kNoTensors});
  std::vector<Tensor> dxs = node.backward(std::exchange(node.douts, {}));
  if (observer != nullptr) observer->after({node.name, true, kNoTensors, dxs});
  return dxs;
}

void backward(const Tensor& output, const Tensor& doutput) {
  TESSERA_CHECK(requires_grad(output), "[backward] {} depends on nothing that wants a gradient",
                describe(output));
  TESSERA_CHECK(doutput.defined() || output.numel() == 1,
                "[backward] {} is no single number: give the upstream gradient", describe(output));
  Tensor seed = doutput.defined()
                    ? doutput.detach()
                    : Tensor::full(output.shape(), 1.0, output.dtype(), output.device());
  TESSERA_CHECK(seed.shape() == output.shape() && seed.dtype() == output.dtype(),
                "[backward] upstream gradient {} for an output {}", describe(seed),
                describe(output));
  const NoGrad no_grad;
  Ready ready;
  deliver("backward", edge_of(output), std::move(seed), &ready);
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    std::vector<Tensor> dxs = run_backward(*node);
    node->released = true;
    node->release();
    for (size_t i = 0; i < dxs.size(); ++i) {
      if (!dxs[i].defined() || node->edges[i].node == nullptr) continue;
      const Edge& edge = node->edges[i];
      if (edge.cast_from && dxs[i].dtype() != *edge.cast_from) {
        dxs[i] = raw::to(dxs[i], *edge.cast_from);
      }
      deliver(node->name, edge, std::move(dxs[i]), &ready);
    }
    node->edges.clear();
  }
}

Saved::Saved(const Tensor& t) : tensor_(t.detach()), version_(t.storage()->version()) {}

Saved Saved::or_maker(const Tensor& t) {
  const Variable* v = variable_of(t);
  if (v == nullptr || v->leaf || !v->node->can_recompute(v->output)) return Saved(t);
  Saved saved;
  saved.maker_ = v->node;
  return saved;
}

Tensor Saved::get(const char* op) const {
  if (maker_ != nullptr) {
    TESSERA_CHECK(!maker_->released, "[{}] its saved tensors are gone: backward ran before", op);
    return maker_->recompute();
  }
  TESSERA_CHECK(tensor_.defined(), "[{}] its saved tensors are gone: backward ran before", op);
  TESSERA_CHECK(tensor_.storage()->version() == version_,
                "[{}] a tensor {} saved for backward was overwritten in place since forward", op,
                describe(tensor_));
  return tensor_;
}

}  // namespace tessera
