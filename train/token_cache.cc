// Reading, making, writing.
#include "train/token_cache.h"

#include <filesystem>
#include <functional>
#include <numeric>

#include "autograd/tape.h"
#include "engine/raw.h"
#include "train/checkpoint.h"
#include "train/files/fnv.h"
#include "train/files/safetensors.h"
#include "train/picture_batches.h"
#include "train/work_progress.h"

namespace tessera {
namespace {

constexpr char kFormat[] = "tessera tokens 3";  // 1: another sum; 2: pictures by names alone
constexpr char kFormats[] = "tessera tokens ";
constexpr char kName[] = "tokens";

std::string sum_of(const Tensor& ids) {
  return fmt::format("{:016x}", fnv1a({reinterpret_cast<const char*>(ids.data<int32_t>()),
                                       static_cast<size_t>(ids.numel()) * sizeof(int32_t)}));
}

}  // namespace

TokenCache::TokenCache(const std::string& path, const TokenSource& source,
                       const Tokenizer& tokenizer, const EvaluationReader& reader, int64_t tokens,
                       bool mirrored) {
  TESSERA_CHECK_USAGE(path.ends_with(".safetensors"),
                      "--token-cache {}: the name must end in .safetensors", path);
  const int64_t views = mirrored ? 2 : 1;
  if (read(path, source, {reader.size(), views, tokens})) return;
  ids_ = Tensor::full({reader.size(), views, tokens}, -1, DType::kI32);
  make(tokenizer, reader);
  write(path, source);
}

bool TokenCache::read(const std::string& path, const TokenSource& source, const Shape& expected) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return false;
  std::string reason;
  try {
    const SafetensorsReader file(path);
    const Metadata& said = file.metadata();
    const auto says = [&said](const char* key, const std::string& value) {
      const auto entry = said.find(key);
      return entry != said.end() && entry->second == value;
    };
    const auto format = said.find("format");
    const bool is_cache = format != said.end() && format->second.starts_with(kFormats);
    const SafetensorsEntry* entry = file.find(kName);
    if (!is_cache || entry == nullptr || entry->dtype != DType::kI32) {
      // A user's own file under this name must not be lost.
      throw UsageError(fmt::format("--token-cache {}: the file is no cache of tokens", path));
    }
    if (!says("format", kFormat)) {
      reason = "is of another version of this program";
    } else if (!says("tokenizer", source.tokenizer)) {
      reason = "is another tokenizer's";
    } else if (!says("data", source.data)) {
      reason = "is of other pictures";
    } else if (!says("cut", source.cut) || entry->shape != expected) {
      reason = "is of another size or cut";
    } else {
      ids_ = read_tensors(file, [](const std::string& name) { return name == kName; }).at(kName);
      if (says("sum", sum_of(ids_))) {
        fmt::print(stderr, "token ids from {}\n", path);
        return true;
      }
      reason = "is damaged";
    }
  } catch (const UsageError&) {
    throw;
  } catch (const Error&) {
    reason = "is damaged";
  }
  fmt::print(stderr, "the token cache {} {} and is made anew\n", path, reason);
  return false;
}

void TokenCache::make(const Tokenizer& tokenizer, const EvaluationReader& reader) {
  const NoGrad no_grad;
  const int64_t views = ids_.size(1), tokens = ids_.size(2);
  std::vector<int64_t> all(static_cast<size_t>(reader.size()));
  std::iota(all.begin(), all.end(), int64_t{0});
  int32_t* ids = ids_.data<int32_t>();
  const auto keep = [&](const PictureBatch& batch) {
    for (int64_t view = 0; view < views; ++view) {
      const Tensor pictures =
          view == 0 ? batch.images : raw::contiguous(raw::flip(batch.images, 3));
      const std::vector<int64_t> found = tokenizer.encode(pictures).to_vector<int64_t>();
      for (size_t b = 0; b < batch.pictures.size(); ++b) {
        int32_t* const row = ids + (batch.pictures[b] * views + view) * tokens;
        for (int64_t i = 0; i < tokens; ++i) {
          row[i] = static_cast<int32_t>(found[b * static_cast<size_t>(tokens) + size_t(i)]);
        }
      }
    }
  };
  WorkProgress progress("pictures' token ids", reader.size());
  for_each_batch(reader, all, keep, std::ref(progress));
}

void TokenCache::write(const std::string& path, const TokenSource& source) const {
  const SafetensorsTensor tensor = {kName, ids_.dtype(), ids_.shape(), ids_.view().data};
  write_safetensors(path, std::span(&tensor, 1),
                    {{"format", kFormat},
                     {"data", source.data},
                     {"cut", source.cut},
                     {"tokenizer", source.tokenizer},
                     {"sum", sum_of(ids_)}});
  fmt::print(stderr, "token ids of {} pictures kept in {}\n", ids_.size(0), path);
}

Tensor TokenCache::ids(const std::vector<int64_t>& indices,
                       const std::vector<uint8_t>& mirrored) const {
  const int64_t views = ids_.size(1), tokens = ids_.size(2);
  const int32_t* ids = ids_.data<int32_t>();
  std::vector<int64_t> found;
  found.reserve(indices.size() * static_cast<size_t>(tokens));
  for (size_t b = 0; b < indices.size(); ++b) {
    const int64_t view = mirrored[b] != 0 ? 1 : 0;
    TESSERA_CHECK(indices[b] < ids_.size(0) && view < views,
                  "[token_cache] picture {} ({}) is not in a cache of {} x {}", indices[b],
                  view == 0 ? "plain" : "mirrored", ids_.size(0), views);
    const int32_t* const row = ids + (indices[b] * views + view) * tokens;
    TESSERA_CHECK(row[0] >= 0, "[token_cache] picture {} could not be decoded when it was made",
                  indices[b]);
    found.insert(found.end(), row, row + tokens);
  }
  return Tensor::from(found, {std::ssize(indices), tokens});
}

}  // namespace tessera
