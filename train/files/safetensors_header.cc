// The header's grammar as a small state machine fed by the JSON library's tokens, and its writer.
// Rule: what is not expected is refused with the tensor's name; names are quoted in messages.
#include "train/files/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

namespace tessera {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::array<std::pair<DType, std::string_view>, kNumDTypes> kDTypeNames = {{
    {DType::kF64, "F64"},
    {DType::kF32, "F32"},
    {DType::kF16, "F16"},
    {DType::kBF16, "BF16"},
    {DType::kI64, "I64"},
    {DType::kI32, "I32"},
    {DType::kU8, "U8"},
    {DType::kBool, "BOOL"},
}};

// A name from a file as part of a one-line message: quoted, control characters escaped, not
// endless.
std::string in_quotes(std::string_view name) {
  constexpr size_t kLongest = 80;
  const bool cut = name.size() > kLongest;
  const std::string text(cut ? name.substr(0, kLongest) : name);
  return Json(text + (cut ? "..." : "")).dump(-1, ' ', true, Json::error_handler_t::replace);
}

// Receives the header token by token. The grammar is small enough to be a state: outside, between
// entries, in an entry (or the metadata), in one of its two lists.
class HeaderParser : public nlohmann::json_sax<Json> {
 public:
  SafetensorsHeader header;

  bool start_object(size_t) override {
    if (state_ == State::kOutside) {
      state_ = State::kTop;
    } else if (state_ == State::kTop) {
      state_ = name_ == kMetadataKey ? State::kMetadata : State::kEntry;
      entry_ = {};
      entry_.name = name_;
      has_dtype_ = has_shape_ = has_offsets_ = false;
    } else {
      refuse("an object");
    }
    return true;
  }

  bool key(std::string& text) override {
    if (state_ == State::kTop) {
      TESSERA_CHECK(names_.insert(text).second, "{} stands twice in the header", in_quotes(text));
      name_ = text;
    } else {
      field_ = text;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (state_ == State::kMetadata) {
      TESSERA_CHECK(header.metadata.emplace(field_, text).second, "the metadata has {} twice",
                    in_quotes(field_));
    } else if (state_ == State::kEntry && field_ == "dtype" && !has_dtype_) {
      const auto known = std::find_if(kDTypeNames.begin(), kDTypeNames.end(),
                                      [&](const auto& pair) { return pair.second == text; });
      TESSERA_CHECK(known != kDTypeNames.end(), "tensor {} has dtype {}, which is not supported",
                    in_quotes(name_), in_quotes(text));
      entry_.dtype = known->first;
      has_dtype_ = true;
    } else {
      refuse("a string");
    }
    return true;
  }

  bool start_array(size_t) override {
    if (state_ == State::kEntry && field_ == "shape" && !has_shape_) {
      state_ = State::kShape;
    } else if (state_ == State::kEntry && field_ == "data_offsets" && !has_offsets_) {
      state_ = State::kOffsets;
      num_offsets_ = 0;
    } else {
      refuse("a list");
    }
    return true;
  }

  bool number_unsigned(Json::number_unsigned_t number) override {
    if (state_ == State::kShape) {
      TESSERA_CHECK(number <= uint64_t{std::numeric_limits<int64_t>::max()},
                    "tensor {} has a dimension of {}", in_quotes(name_), number);
      TESSERA_CHECK(entry_.shape.size() < kMaxDims, "tensor {} has more than {} dimensions",
                    in_quotes(name_), kMaxDims);
      entry_.shape.push_back(static_cast<int64_t>(number));
    } else if (state_ == State::kOffsets && num_offsets_ < 2) {
      offsets_[num_offsets_++] = number;
    } else {
      refuse("a number");
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::kShape) {
      has_shape_ = true;
    } else {
      TESSERA_CHECK(num_offsets_ == 2 && offsets_[0] <= offsets_[1],
                    "tensor {} has no valid pair of data offsets", in_quotes(name_));
      entry_.offset = offsets_[0];
      entry_.bytes = offsets_[1] - offsets_[0];
      has_offsets_ = true;
    }
    state_ = State::kEntry;
    return true;
  }

  bool end_object() override {
    if (state_ == State::kEntry) {
      TESSERA_CHECK(has_dtype_ && has_shape_ && has_offsets_,
                    "tensor {} lacks its dtype, shape or data_offsets", in_quotes(name_));
      const uint64_t expected = safetensors_bytes(entry_.dtype, entry_.shape);
      TESSERA_CHECK(entry_.bytes == expected,
                    "tensor {} of shape {} {} takes {} bytes, the header gives it {}",
                    in_quotes(name_), entry_.shape, name_of(entry_.dtype), expected, entry_.bytes);
      header.entries.push_back(std::move(entry_));
    }
    state_ = state_ == State::kTop ? State::kOutside : State::kTop;
    return true;
  }

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(Json::number_integer_t) override { return refuse("a negative number"); }
  bool number_float(Json::number_float_t, const std::string&) override {
    return refuse("a fraction");
  }
  bool binary(Json::binary_t&) override { return refuse("binary data"); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    throw Error(fmt::format("the header is not JSON (at byte {} of it)", position));
  }

 private:
  enum class State { kOutside, kTop, kMetadata, kEntry, kShape, kOffsets };

  [[noreturn]] bool refuse(const char* what) const {
    const bool inside = state_ != State::kOutside && state_ != State::kTop;
    throw Error(fmt::format("the header has {} where none belongs{}{}{}", what,
                            name_.empty() ? "" : ", at " + in_quotes(name_), inside ? " " : "",
                            inside ? in_quotes(field_) : ""));
  }

  State state_ = State::kOutside;
  std::string name_, field_;
  std::set<std::string> names_;
  SafetensorsEntry entry_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  std::array<uint64_t, 2> offsets_ = {};
  int num_offsets_ = 0;
};

std::string json_text(const std::string& text) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    throw Error(fmt::format("{} is not valid UTF-8", in_quotes(text)));
  }
}

}  // namespace

uint64_t safetensors_bytes(DType dtype, const Shape& shape) {
  uint64_t bytes = 0;
  const bool overflow = __builtin_mul_overflow(static_cast<uint64_t>(numel_of(shape)),
                                               uint64_t{size_of(dtype)}, &bytes);
  TESSERA_CHECK(!overflow, "a tensor of shape {} {} has more bytes than 64 bits can count", shape,
                name_of(dtype));
  return bytes;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes) {
  // The JSON library skips a byte-order mark and takes a zero byte for the end of the text.
  TESSERA_CHECK(text.starts_with('{'), "the header does not begin with '{{'");
  TESSERA_CHECK(text.find('\0') == std::string_view::npos, "the header contains a zero byte");
  HeaderParser parser;
  Json::sax_parse(text.begin(), text.end(), &parser);

  SafetensorsHeader header = std::move(parser.header);
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  uint64_t end = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    TESSERA_CHECK(entry.offset == end,
                  "the data of tensor {} begins at byte {}, the data before it ends at {}",
                  in_quotes(entry.name), entry.offset, end);
    TESSERA_CHECK(entry.bytes <= data_bytes - end,
                  "tensor {} ends at byte {} of the data, the file holds {}: it is cut short",
                  in_quotes(entry.name), entry.offset + entry.bytes, data_bytes);
    end += entry.bytes;
  }
  TESSERA_CHECK(end == data_bytes, "the tensors take {} bytes, the file holds {}", end, data_bytes);
  return header;
}

std::string make_safetensors_header(std::span<const SafetensorsTensor> tensors,
                                    const Metadata& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (text.back() != '{') text += ',';
      text += json_text(key) + ':' + json_text(value);
    }
    text += '}';
  }
  std::set<std::string_view> names = {kMetadataKey};
  uint64_t offset = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    TESSERA_CHECK(names.insert(tensor.name).second, "the tensor name {} is taken",
                  in_quotes(tensor.name));
    const uint64_t bytes = safetensors_bytes(tensor.dtype, tensor.shape);
    const auto dtype = std::find_if(kDTypeNames.begin(), kDTypeNames.end(),
                                    [&](const auto& pair) { return pair.first == tensor.dtype; });
    if (text.back() != '{') text += ',';
    text += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        json_text(tensor.name), dtype->second,
                        fmt::join(tensor.shape.begin(), tensor.shape.end(), ","), offset,
                        offset + bytes);
    offset += bytes;
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace tessera
