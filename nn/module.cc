// The module tree: registration, visits and the state dict.
// Rule: knows names and tensors, no layer.
#include "nn/module.h"

#include <algorithm>

#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera {

void Module::check_new_name(const std::string& name) const {
  TESSERA_CHECK(!name.empty() && name.find('.') == std::string::npos,
                "[module] '{}' is no name for a parameter or child", name);
  const auto is_name = [&](const auto& entry) { return entry.name == name; };
  const bool taken = std::any_of(parameters_.begin(), parameters_.end(), is_name) ||
                     std::any_of(buffers_.begin(), buffers_.end(), is_name) ||
                     std::any_of(children_.begin(), children_.end(),
                                 [&](const auto& child) { return child.first == name; });
  TESSERA_CHECK(!taken, "[module] the name '{}' is registered twice", name);
}

void Module::add_parameter(const std::string& name, Tensor& member, const Shape& shape,
                           double value, StateKind kind) {
  check_new_name(name);
  member = Tensor::full(shape, value);
  if (kind == StateKind::kTrained) set_requires_grad(member);
  parameters_.push_back({name, &member, kind});
}

void Module::add_buffer(const std::string& name, Tensor& member, const Shape& shape, double value,
                        DType dtype) {
  check_new_name(name);
  member = Tensor::full(shape, value, dtype);
  buffers_.push_back({name, &member, StateKind::kBuffer});
}

void Module::add_child(const std::string& name, Module& child) {
  check_new_name(name);
  children_.emplace_back(name, &child);
}

void Module::visit_under(const std::string& prefix, const Visitor& visitor) {
  for (const Entry& entry : parameters_) visitor(prefix + entry.name, *entry.tensor, entry.kind);
  for (const Entry& entry : buffers_) visitor(prefix + entry.name, *entry.tensor, entry.kind);
  for (const auto& [name, child] : children_) child->visit_under(prefix + name + ".", visitor);
}

std::vector<NamedTensor> Module::state_dict() const {
  std::vector<NamedTensor> state;
  const auto collect = [&](const std::string& name, Tensor& tensor, StateKind) {
    state.push_back({name, tensor});
  };
  const_cast<Module*>(this)->visit(collect);  // this visitor changes nothing
  return state;
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> parameters;
  const auto collect = [&](const std::string& name, Tensor& tensor, StateKind kind) {
    if (kind != StateKind::kBuffer) parameters.push_back({name, tensor});
  };
  const_cast<Module*>(this)->visit(collect);
  return parameters;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const NamedTensor& parameter : named_parameters()) count += parameter.tensor.numel();
  return count;
}

void Module::load_state_dict(const std::map<std::string, Tensor>& values) {
  const std::vector<NamedTensor> state = state_dict();
  for (const auto& [name, tensor] : state) {
    const auto value = values.find(name);
    TESSERA_CHECK(value != values.end(), "[load_state_dict] '{}' is missing", name);
    TESSERA_CHECK(value->second.shape() == tensor.shape(),
                  "[load_state_dict] '{}' is {}, the model has {}", name, describe(value->second),
                  describe(tensor));
  }
  if (values.size() != state.size()) {
    for (const auto& [name, value] : values) {
      const bool known = std::any_of(state.begin(), state.end(),
                                     [&](const NamedTensor& own) { return own.name == name; });
      TESSERA_CHECK(known, "[load_state_dict] the model has no '{}' {}", name, describe(value));
    }
  }
  for (const auto& [name, tensor] : state) {
    raw::copy_(tensor, raw::to(values.at(name), tensor.device()));
  }
}

void Module::move_to(Device device) {
  visit([&](const std::string&, Tensor& tensor, StateKind) {
    const bool trained = requires_grad(tensor);
    tensor = raw::to(tensor.detach(), device);
    if (trained) set_requires_grad(tensor);
  });
}

Device Module::device() const {
  const std::vector<NamedTensor> parameters = named_parameters();
  TESSERA_CHECK(!parameters.empty(), "[module] a module without parameters is on no device");
  return parameters.front().tensor.device();
}

void Module::set_training(bool training) {
  training_ = training;
  for (const auto& [name, child] : children_) child->set_training(training);
}

void Module::set_trainable(bool trainable) {
  visit([&](const std::string&, Tensor& tensor, StateKind kind) {
    if (kind == StateKind::kTrained) set_requires_grad(tensor, trainable);
  });
}

}  // namespace tessera
