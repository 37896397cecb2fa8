// Between tensors and safetensors files.
#include "train/checkpoint.h"

#include "engine/raw.h"
#include "train/files/naming.h"

namespace tessera {
namespace {

const std::string kFirstMoment = "optimizer/exp_avg/";
const std::string kSecondMoment = "optimizer/exp_avg_sq/";
const std::string kAveraged = "ema/";  // train/ema.h

bool is_averaged(const std::string& name) { return name.starts_with(kAveraged); }

Tensor read_tensor(const SafetensorsReader& file, const SafetensorsEntry& entry) {
  Tensor t = Tensor::empty(entry.shape, entry.dtype);
  if (t.numel() > 0) {
    file.read(entry, {static_cast<std::byte*>(t.view().data), static_cast<size_t>(entry.bytes)});
  }
  return t;
}

int64_t whole_number(const SafetensorsReader& file, const char* key) {
  const auto it = file.metadata().find(key);
  TESSERA_CHECK(it != file.metadata().end(),
                "{}: no checkpoint of tessera: its metadata has no '{}'", file.path(), key);
  const std::string& text = it->second;
  TESSERA_CHECK(!text.empty() && text.size() < 19 &&
                    text.find_first_not_of("0123456789") == std::string::npos,
                "{}: '{}' is no number: {}", file.path(), key, text.substr(0, 40));
  return std::stoll(text);
}

Metadata metadata_of(int64_t step, const nlohmann::json& recipe) {
  return {{"format_version", std::to_string(kCheckpointFormatVersion)},
          {"step", std::to_string(step)},
          {"recipe", recipe.dump()}};
}

// From any device, of any strides.
void write_tensors(const std::string& path, const std::vector<NamedTensor>& named,
                   const Metadata& metadata) {
  std::vector<Tensor> host;  // keeps the copies alive until they are written
  std::vector<SafetensorsTensor> tensors;
  for (const NamedTensor& entry : named) {
    host.push_back(raw::contiguous(raw::to(entry.tensor.detach(), Device::kCpu)));
    const Tensor& h = host.back();
    tensors.push_back({entry.name, h.dtype(), h.shape(), h.view().data});
  }
  write_safetensors(path, tensors, metadata);
}

}  // namespace

void save_checkpoint(const std::string& path, Module& model, const AdamW& optimizer, int64_t step,
                     const nlohmann::json& recipe, const std::vector<NamedTensor>& more) {
  std::vector<NamedTensor> tensors = model.state_dict();
  for (const AdamW::Slot& slot : optimizer.slots()) {
    tensors.push_back({kFirstMoment + slot.name, slot.exp_avg});
    tensors.push_back({kSecondMoment + slot.name, slot.exp_avg_sq});
  }
  tensors.insert(tensors.end(), more.begin(), more.end());
  Metadata metadata = metadata_of(step, recipe);
  if (optimizer.scaled_loss()) {
    const StepState state = optimizer.state();
    metadata["updates"] = std::to_string(state.updates);  // skipped ones are not counted
    metadata["loss_scale"] = fmt::format("{:.0f}", state.scale.value);  // a power of two from 1 on
    metadata["clean_updates"] = std::to_string(state.scale.clean_updates);
  }
  write_tensors(path, tensors, metadata);
}

void save_weights(const std::string& path, const std::vector<NamedTensor>& weights,
                  const nlohmann::json& recipe) {
  write_tensors(path, weights, metadata_of(0, recipe));
}

bool is_weight(const std::string& name) { return name.find('/') == name.npos; }

Checkpoint::Checkpoint(const std::string& path) : file_(path) {
  const int64_t version = whole_number(file_, "format_version");
  TESSERA_CHECK(version == kCheckpointFormatVersion,
                "{}: format version {}, this program reads version {}", path, version,
                kCheckpointFormatVersion);
  step_ = whole_number(file_, "step");
  const auto it = file_.metadata().find("recipe");
  TESSERA_CHECK(it != file_.metadata().end(), "{}: a checkpoint without a recipe", path);
  recipe_ = nlohmann::json::parse(it->second, nullptr, false);
  TESSERA_CHECK(recipe_.is_object(), "{}: its recipe cannot be read", path);
}

void Checkpoint::load_model(Module& model) const {
  naming(file_.path(), [&] { model.load_state_dict(read_tensors(file_, is_weight)); });
}

void Checkpoint::load_optimizer(AdamW& optimizer) const {
  for (const AdamW::Slot& slot : optimizer.slots()) {
    load_more(
        {{kFirstMoment + slot.name, slot.exp_avg}, {kSecondMoment + slot.name, slot.exp_avg_sq}});
  }
  StepState state;
  state.updates = step_;
  if (optimizer.scaled_loss()) {
    state.updates = whole_number(file_, "updates");
    state.scale.value = static_cast<double>(whole_number(file_, "loss_scale"));
    state.scale.clean_updates = whole_number(file_, "clean_updates");
  }
  state.loss_seed = static_cast<float>(state.scale.value);
  optimizer.set_state(state);
}

std::map<std::string, Tensor> Checkpoint::weights() const {
  std::map<std::string, Tensor> weights = read_tensors(file_, is_weight);
  for (auto& [name, tensor] : read_tensors(file_, is_averaged)) {
    weights[name.substr(kAveraged.size())] = tensor;
  }
  return weights;
}

void Checkpoint::load_more(const std::vector<NamedTensor>& more) const {
  for (const auto& [name, to] : more) {
    const SafetensorsEntry& entry = file_.at(name);
    TESSERA_CHECK(entry.shape == to.shape() && entry.dtype == to.dtype(),
                  "{}: {} is {} {}, the model wants {}", file_.path(), entry.name,
                  name_of(entry.dtype), entry.shape, describe(to));
    raw::copy_(to, raw::to(read_tensor(file_, entry), to.device()));
  }
}

std::map<std::string, Tensor> read_tensors(const SafetensorsReader& file,
                                           bool (*wanted)(const std::string& name)) {
  std::map<std::string, Tensor> tensors;
  for (const SafetensorsEntry& entry : file.entries()) {
    if (wanted(entry.name)) tensors.emplace(entry.name, read_tensor(file, entry));
  }
  return tensors;
}

}  // namespace tessera
