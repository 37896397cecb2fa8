// The tape: nodes, edges, gradients of leaves, and the modes that switch recording.
// Accumulation rule: a leaf's gradient is overwritten by the first arrival after zero_grad and
// added to by later ones; an intermediate's gradient is moved in on first arrival and added in
// place only when nobody else holds its buffer. No recursion over the graph, no double backward.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

// ---- What users of gradients need ----

// True for a leaf that wants a gradient and for everything computed from one.
bool requires_grad(const Tensor& t);
// Makes t a leaf that wants a gradient (or no longer). t must be floating and not computed.
void set_requires_grad(const Tensor& t, bool value = true);
// The gradient of a leaf after backward; undefined when none arrived since zero_grad.
Tensor grad(const Tensor& leaf);
// From now on the leaf's gradient is written into `slot` (same shape and dtype, contiguous).
void set_grad_slot(const Tensor& leaf, const Tensor& slot);
// Forgets the gradient: the next arrival overwrites. No memory is touched.
void zero_grad(const Tensor& leaf);
// Propagates from `output` (0-d, or with an explicit upstream gradient of its shape) to the
// leaves and takes the graph apart on the way.
void backward(const Tensor& output, const Tensor& doutput = {});

bool grad_enabled();
class NoGrad {  // nothing is recorded while one is alive on this thread
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

class WithGrad {  // the other way round: what a backward pass computes again is recorded
 public:
  WithGrad();
  ~WithGrad();
  WithGrad(const WithGrad&) = delete;
  WithGrad& operator=(const WithGrad&) = delete;

 private:
  bool before_;
};

// One run of an op, forward or backward, with the tensors that go in (before it) and come out
// (after it); in backward they are gradients, undefined where there is none.
struct OpRun {
  const char* op;
  bool backward;
  const std::vector<Tensor>& inputs;
  const std::vector<Tensor>& outputs;
};

// Looks on while ops run, on the thread that runs them: the check for non-finite values, the
// profiler. Runs nest where an op runs others (a checkpointed block).
class OpObserver {
 public:
  virtual ~OpObserver() = default;
  virtual void before(const OpRun& run) = 0;
  virtual void after(const OpRun& run) = 0;
};
void set_op_observer(OpObserver* observer);  // nullptr: nobody looks
OpObserver* op_observer();

// Shows the observer a piece of work that is no op: the optimizer, the wait for a batch.
class ObservedWork {
 public:
  explicit ObservedWork(const char* name);
  ~ObservedWork();
  ObservedWork(const ObservedWork&) = delete;
  ObservedWork& operator=(const ObservedWork&) = delete;

 private:
  OpRun run_;
};

// ---- What ops need (autograd/apply.h) ----

class Node;

struct Edge {
  std::shared_ptr<Node> node;  // nullptr: this input wants no gradient
  int output = 0;              // which of the node's outputs
  // The input's own dtype where autocast gave forward another one: the gradient returns to it.
  std::optional<DType> cast_from;
};

// A leaf's slot that an op may write its gradient into directly: out = dx + beta * out.
struct GradSink {
  Tensor slot;
  double beta = 0;
};

class Node {
 public:
  Node(const char* name, int num_outputs);
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Gradients of the inputs from those of the outputs (undefined: zero). An undefined result means
  // no gradient for that input, or that it went into the input's sink.
  virtual std::vector<Tensor> backward(std::vector<Tensor> douts) = 0;
  virtual void release() = 0;  // drops saved tensors
  // Whether this output can be made again, cheaply and with the same bits, from what the node saved
  // (one output at most can); and that output made again.
  virtual bool can_recompute(int output) const {
    (void)output;
    return false;
  }
  virtual Tensor recompute() { return {}; }

  // Whether input i wants a gradient.
  bool wants(int input) const { return edges[static_cast<size_t>(input)].node != nullptr; }
  // The dtype input i's gradient should have: its own where autocast cast it, else `dtype`. A
  // kernel that sums in f32 may give an f32 gradient at once; another one's is cast.
  DType gradient_dtype(int input, DType dtype) const {
    return edges[static_cast<size_t>(input)].cast_from.value_or(dtype);
  }
  // A sink for input i when it is a leaf with a slot; the write then counts as its arrival.
  bool take_sink(int input, GradSink* sink) const;

  const char* const name;
  const uint64_t sequence;  // creation order, a topological order
  const int num_outputs;
  std::vector<Edge> edges;    // one for each tensor input
  std::vector<Tensor> douts;  // gradients that have arrived during a backward pass
  bool released = false;      // a pass has been through and took the graph apart
};

// The node and output that produced t, the accumulator of a leaf, or an empty edge.
Edge edge_of(const Tensor& t);
void set_history(const Tensor& t, std::shared_ptr<Node> node, int output);

// A tensor kept for backward, which notices an in-place write in between.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& t);
  // Keeps the node that made t in place of t where that node can make it again: a layer norm's or
  // an activation's output, which otherwise would be kept beside its input.
  static Saved or_maker(const Tensor& t);
  Tensor get(const char* op) const;  // Error when it was overwritten or already released
  bool defined() const { return tensor_.defined() || maker_ != nullptr; }

 private:
  Tensor tensor_;
  uint64_t version_ = 0;
  std::shared_ptr<Node> maker_;
};

}  // namespace tessera
