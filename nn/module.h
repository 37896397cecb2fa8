// Module: a tree of named tensors. Parameters, buffers and children are registered by the
// constructor under the names of the official state dicts; dots join the levels.
// Rule: a registered member never moves (modules are neither copied nor moved), and a visit goes
// own parameters, own buffers, then children, each in order of registration: PyTorch's order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

struct NamedTensor {
  std::string name;  // "blocks.0.attn.qkv.weight"
  Tensor tensor;
};

enum class StateKind : uint8_t {
  kTrained,  // a parameter that learns
  kFixed,    // a parameter of the state dict that does not learn (sin-cos positions)
  kBuffer,   // running statistics and the like
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // Every tensor of the state dict. The visitor may put another tensor of the same shape in its
  // place: so parameters move into an arena.
  using Visitor = std::function<void(const std::string& name, Tensor& tensor, StateKind kind)>;
  void visit(const Visitor& visitor) { visit_under("", visitor); }

  std::vector<NamedTensor> named_parameters() const;  // trained and fixed, in state-dict order
  std::vector<NamedTensor> state_dict() const;        // the same and the buffers
  int64_t parameter_count() const;                    // elements of named_parameters()

  // Copies values into the state dict's tensors, converting the dtype, from any device. An Error
  // names what is missing, left over or of another shape, and then nothing has been copied.
  void load_state_dict(const std::map<std::string, Tensor>& values);

  // Puts a copy on another device in the place of every tensor of the state dict: before the
  // optimizer's arena, and before the first step.
  void move_to(Device device);
  Device device() const;  // of its parameters

  // Whether dropout drops, batch norm uses the batch's statistics, and so on; for the whole tree.
  void set_training(bool training);
  bool training() const { return training_; }
  // Turns gradients of all kTrained parameters off (a frozen encoder) or on again.
  void set_trainable(bool trainable);

 protected:
  // Allocates `member`, filled with `value`, and enters it. A model draws its initial weights in
  // one place, when the tree stands (nn/init.h). kTrained parameters want gradients.
  void add_parameter(const std::string& name, Tensor& member, const Shape& shape, double value = 0,
                     StateKind kind = StateKind::kTrained);
  void add_buffer(const std::string& name, Tensor& member, const Shape& shape, double value = 0,
                  DType dtype = DType::kF32);
  void add_child(const std::string& name, Module& child);

 private:
  struct Entry {
    std::string name;
    Tensor* tensor;
    StateKind kind;
  };

  void visit_under(const std::string& prefix, const Visitor& visitor);
  void check_new_name(const std::string& name) const;

  std::vector<Entry> parameters_, buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
};

// A level of names and nothing else: "net" in net.0.weight.
class ModuleGroup : public Module {
 public:
  using Module::add_child;
};

// Modules of one type under the names "0", "1", ...
template <class M>
class ModuleList : public Module {
 public:
  template <class... Args>
  M& append(Args&&... args) {
    M& module = modules_.emplace_back(std::forward<Args>(args)...);
    add_child(std::to_string(modules_.size() - 1), module);
    return module;
  }
  size_t size() const { return modules_.size(); }
  const M& operator[](size_t i) const { return modules_[i]; }
  auto begin() const { return modules_.begin(); }
  auto end() const { return modules_.end(); }

 private:
  std::deque<M> modules_;  // a deque never moves its elements
};

}  // namespace tessera
