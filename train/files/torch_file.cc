// Two containers (a zip archive, or pickles one after another), one way to the tensors in them.
#include "train/files/torch_file.h"

#include <minizip/unzip.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "engine/backend.h"
#include "engine/error.h"
#include "train/files/file_io.h"
#include "train/files/naming.h"
#include "train/files/pickle.h"

namespace tessera {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMostBytes = size_t{64} << 30;
constexpr int kDeepest = 100;                // modules within modules
constexpr int64_t kMostEntries = 1'000'000;  // of all modules together: a file may go in circles

// A storage of the file, as its pickle names it: ("storage", type, key, device, elements).
struct StorageName {
  DType dtype;
  std::string key;
};

DType dtype_of(const std::string& type) {
  static const std::map<std::string, DType> kTypes = {
      {"torch FloatStorage", DType::kF32},     {"torch DoubleStorage", DType::kF64},
      {"torch HalfStorage", DType::kF16},      {"torch LongStorage", DType::kI64},
      {"torch BFloat16Storage", DType::kBF16}, {"torch IntStorage", DType::kI32},
      {"torch ByteStorage", DType::kU8},       {"torch BoolStorage", DType::kBool},
  };
  const auto found = kTypes.find(type);
  TESSERA_CHECK(found != kTypes.end(), "a tensor of a kind that is not known here: {}", type);
  return found->second;
}

const PickleValue& item(const PickleValue& of, size_t i) {
  TESSERA_CHECK(i < of.items.size(), "a pickle whose objects lack what PyTorch gives them");
  return *of.items[i];
}

int64_t integer(const PickleValue& value) {
  TESSERA_CHECK(value.kind == Kind::kInteger && value.integer >= 0,
                "a pickle with a size that is none");
  return value.integer;
}

std::vector<int64_t> integers(const PickleValue& value) {
  std::vector<int64_t> list;
  for (const PickleValue* entry : value.items) list.push_back(integer(*entry));
  return list;
}

// The older form names modules in the same way, with their source.
bool is_storage(const PickleValue& value) {
  return value.kind == Kind::kPersistent && item(item(value, 0), 0).is_text("storage");
}

StorageName storage_name(const PickleValue& value) {
  TESSERA_CHECK(is_storage(value), "a pickle whose tensors have no storage");
  const PickleValue& id = item(value, 0);
  return {dtype_of(item(id, 1).text), item(id, 2).text};
}

// Where storages come from.
class Container {
 public:
  virtual ~Container() = default;
  virtual std::string bytes_of(const StorageName& name) = 0;
};

class ZipContainer : public Container {
 public:
  explicit ZipContainer(const std::string& path)
      : zip_(unzOpen64(path.c_str())), archive_bytes_(std::filesystem::file_size(path)) {
    TESSERA_CHECK(zip_ != nullptr, "a zip archive that cannot be opened");
    // The archive's own folder, whatever it is called, holds data.pkl.
    for (int status = unzGoToFirstFile(zip_.get()); status == UNZ_OK;
         status = unzGoToNextFile(zip_.get())) {
      char name[256] = {};
      unzGetCurrentFileInfo64(zip_.get(), nullptr, name, sizeof(name) - 1, nullptr, 0, nullptr, 0);
      const std::string_view text = name;
      if (text.ends_with("/data.pkl")) folder_ = text.substr(0, text.size() - 8);
    }
    TESSERA_CHECK(!folder_.empty(), "a zip archive that torch.save() did not write");
  }

  std::string read(const std::string& name) {
    const std::string path = folder_ + name;
    TESSERA_CHECK(unzLocateFile(zip_.get(), path.c_str(), 1) == UNZ_OK &&
                      unzOpenCurrentFile(zip_.get()) == UNZ_OK,
                  "an archive without {}", path);
    std::string bytes;
    std::string piece(1 << 20, '\0');  // grows by what is there, not by what the header claims
    int got;
    while ((got = unzReadCurrentFile(zip_.get(), piece.data(), unsigned(piece.size()))) > 0) {
      bytes.append(piece, 0, static_cast<size_t>(got));
      // torch.save() does not compress: an entry that is longer than its archive blows up.
      TESSERA_CHECK(bytes.size() <= archive_bytes_, "an archive whose {} is compressed", path);
    }
    // Closing compares the check sum.
    TESSERA_CHECK(got == 0 && unzCloseCurrentFile(zip_.get()) == UNZ_OK,
                  "an archive whose {} is damaged", path);
    return bytes;
  }
  std::string bytes_of(const StorageName& name) override { return read("data/" + name.key); }

 private:
  struct Close {
    void operator()(void* zip) const { unzClose(zip); }
  };
  std::unique_ptr<void, Close> zip_;
  uint64_t archive_bytes_;
  std::string folder_;  // with its slash
};

// Before PyTorch 1.6: a magic number, a version, the system, the object and the storages' keys,
// each a pickle, then for each key eight bytes of length and its elements.
class PlainContainer : public Container {
 public:
  static constexpr std::string_view kMagic =
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

  explicit PlainContainer(const std::string& path) : file_(read_file(path, kMostBytes)) {
    rest_ = file_;
    for (int i = 0; i < 3; ++i) rest_.remove_prefix(Pickle(rest_).size());
    object_.emplace(rest_);
    rest_.remove_prefix(object_->size());
    const Pickle keys(rest_);
    rest_.remove_prefix(keys.size());
    for (const PickleValue* key : keys.root().items) keys_.push_back(key->text);
    // Only the object's pickle says of what size a storage's elements are, and whoever wants one
    // storage walks over others, an optimizer's among them.
    for (const PickleValue& value : object_->values()) {
      if (!is_storage(value)) continue;
      const StorageName name = storage_name(value);
      sizes_[name.key] = size_of(name.dtype);
    }
  }

  const Pickle& object() const { return *object_; }

  std::string bytes_of(const StorageName& name) override {
    std::string_view rest = rest_;
    for (const std::string& key : keys_) {
      int64_t elements = 0;
      const auto size = sizes_.find(key);
      TESSERA_CHECK(size != sizes_.end(), "a storage {} that no tensor is of", key);
      TESSERA_CHECK(rest.size() >= sizeof(elements), "storages that end too early");
      std::memcpy(&elements, rest.data(), sizeof(elements));
      rest.remove_prefix(sizeof(elements));
      const size_t most = rest.size() / size->second;
      TESSERA_CHECK(elements >= 0 && static_cast<size_t>(elements) <= most,
                    "storages that end too early");
      const size_t bytes = static_cast<size_t>(elements) * size->second;
      if (key == name.key) return std::string(rest.substr(0, bytes));
      rest.remove_prefix(bytes);
    }
    throw Error(fmt::format("no storage {}", name.key));
  }

 private:
  std::string file_;
  std::string_view rest_;  // the storages
  std::optional<Pickle> object_;
  std::vector<std::string> keys_;
  std::map<std::string, size_t> sizes_;
};

// A tensor as the pickle has it, rebuilt from a storage, bare or as a parameter; else nullptr.
const PickleValue* tensor_of(const PickleValue* value) {
  for (const char* wrapped :
       {"torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state",
        "torch.nn.parameter Parameter"}) {
    if (value->is_call_of(wrapped)) {
      value = &item(item(*value, 1), 0);
      break;
    }
  }
  const bool tensor = value->is_call_of("torch._utils _rebuild_tensor_v2") ||
                      value->is_call_of("torch._utils _rebuild_tensor");
  return tensor ? value : nullptr;
}

using Found = std::vector<std::pair<std::string, const PickleValue*>>;

// The tensors of a state dict or of a module, with their names.
class Gatherer {
 public:
  explicit Gatherer(const PickleValue& root) { enter(root, "", 0); }
  const Found& found() const { return found_; }

 private:
  void enter(const PickleValue& value, const std::string& prefix, int depth) {
    TESSERA_CHECK(depth < kDeepest, "modules nested more than {} deep", kDeepest);
    count(1);
    const PickleValue* modules = value.state ? value.state->find("_modules") : nullptr;
    if (modules == nullptr) return take(value, prefix);
    for (const char* part : {"_parameters", "_buffers"}) {
      if (const PickleValue* dict = value.state->find(part)) take(*dict, prefix);
    }
    for (const auto& [key, child] : modules->entries) {
      enter(*child, prefix + key->text + '.', depth + 1);
    }
  }
  void take(const PickleValue& dict, const std::string& prefix) {
    count(std::ssize(dict.entries));
    for (const auto& [key, entry] : dict.entries) {
      if (const PickleValue* tensor = tensor_of(entry)) {
        found_.emplace_back(prefix + key->text, tensor);
      }
    }
  }

  void count(int64_t entries) {
    visited_ += entries;
    TESSERA_CHECK(visited_ <= kMostEntries, "more than {} entries", kMostEntries);
  }

  Found found_;
  int64_t visited_ = 0;
};

const PickleValue& model_in(const PickleValue& root) {
  for (const char* key : {"model", "state_dict"}) {
    if (const PickleValue* inner = root.find(key)) return *inner;
  }
  return root;
}

Tensor built(const PickleValue& tensor, Container& container,
             std::map<std::string, std::string>& storages) {
  const PickleValue& arguments = item(tensor, 1);
  const StorageName name = storage_name(item(arguments, 0));
  auto stored = storages.find(name.key);
  if (stored == storages.end()) {
    stored = storages.emplace(name.key, container.bytes_of(name)).first;
  }
  const int64_t offset = integer(item(arguments, 1));
  const std::vector<int64_t> shape = integers(item(arguments, 2));
  const std::vector<int64_t> strides = integers(item(arguments, 3));
  TESSERA_CHECK(shape.size() == strides.size() && shape.size() <= kMaxDims,
                "a tensor with {} sizes and {} strides", shape.size(), strides.size());
  const auto have = static_cast<int64_t>(stored->second.size() / size_of(name.dtype));
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
    return Tensor::empty(Shape(shape), name.dtype);
  }
  const auto check_fits = [](bool fits) {
    TESSERA_CHECK(fits, "a tensor that is larger than its storage");
  };
  check_fits(offset < have);
  // Divided, as a product could overflow.
  int64_t last = offset, count = 1;  // its last element's place in the storage
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t steps = shape[i] - 1;
    check_fits(shape[i] <= have / count &&
               (strides[i] == 0 || steps <= (have - 1 - last) / strides[i]));
    count *= shape[i];
    last += steps * strides[i];
  }
  View from{stored->second.data() + static_cast<size_t>(offset) * size_of(name.dtype), name.dtype,
            static_cast<int>(shape.size())};
  for (size_t i = 0; i < shape.size(); ++i) {
    from.shape[i] = shape[i];
    from.stride[i] = strides[i];
  }
  const Tensor result = Tensor::empty(Shape(shape), name.dtype);
  View to = result.view();
  if (name.dtype == DType::kBool) from.dtype = to.dtype = DType::kU8;
  result.backend().copy(from, to);
  if (name.dtype == DType::kBool) {
    const auto* bytes = to.as<const uint8_t>();
    TESSERA_CHECK(std::all_of(bytes, bytes + count, [](uint8_t b) { return b <= 1; }),
                  "a truth value that is neither 0 nor 1");
  }
  return result;
}

std::map<std::string, Tensor> tensors_in(const Found& found, Container& container) {
  std::map<std::string, std::string> storages;  // tensors may share one
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : found) {
    tensors[name] = naming(name, [&] { return built(*value, container, storages); });
  }
  TESSERA_CHECK(!tensors.empty(), "it holds no tensors: neither a state dict nor a module");
  return tensors;
}

std::string first_bytes(const std::string& path, size_t count) {
  std::string bytes(count, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

std::map<std::string, Tensor> read_zip(const std::string& path) {
  ZipContainer container(path);
  const std::string bytes = container.read("data.pkl");
  const Pickle pickle(bytes);
  return tensors_in(Gatherer(model_in(pickle.root())).found(), container);
}

std::map<std::string, Tensor> read_plain(const std::string& path) {
  PlainContainer container(path);
  return tensors_in(Gatherer(model_in(container.object().root())).found(), container);
}

}  // namespace

std::map<std::string, Tensor> read_torch_file(const std::string& path) {
  TESSERA_CHECK_USAGE(std::filesystem::is_regular_file(path), "{}: there is no such file", path);
  return naming(path, [&] {
    const std::string begin = first_bytes(path, PlainContainer::kMagic.size());
    if (begin.starts_with("PK\x03\x04")) return read_zip(path);
    if (begin == PlainContainer::kMagic) return read_plain(path);
    throw Error("not written by torch.save()");
  });
}

}  // namespace tessera
