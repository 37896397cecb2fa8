// Opening, reading and writing of safetensors files; the header's text is safetensors_header.cc's.
// Rule: pread and no mapping: a file cut short under the reader is an Error and no crash.
#include "train/files/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "train/files/atomic_file.h"
#include "train/files/safetensors_header.h"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

// Fills `out` from the file at `offset`.
void read_at(int fd, uint64_t offset, std::span<std::byte> out, const std::string& path) {
  for (size_t have = 0; have < out.size();) {
    const ssize_t n =
        ::pread(fd, out.data() + have, out.size() - have, static_cast<off_t>(offset + have));
    if (n < 0 && errno == EINTR) continue;
    TESSERA_CHECK(n >= 0, "cannot read {}: {}", path, error_reason(errno));
    TESSERA_CHECK(n > 0, "{} became shorter while it was read", path);
    have += static_cast<size_t>(n);
  }
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::string& path)
    : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  TESSERA_CHECK_USAGE(file_.is_open(), "cannot open {}: {}", path, error_reason(errno));
  struct stat info;
  TESSERA_CHECK(::fstat(file_.get(), &info) == 0, "cannot read {}: {}", path, error_reason(errno));
  TESSERA_CHECK_USAGE(S_ISREG(info.st_mode), "cannot read {}: it is not a regular file", path);
  const uint64_t file_bytes = static_cast<uint64_t>(info.st_size);

  uint64_t header_bytes = 0;
  TESSERA_CHECK(file_bytes >= sizeof(header_bytes),
                "{} is not a whole safetensors file: it has only {} bytes", path, file_bytes);
  read_at(file_.get(), 0, std::as_writable_bytes(std::span(&header_bytes, 1)), path);
  TESSERA_CHECK(header_bytes <= kMaxSafetensorsHeader,
                "{} is not a safetensors file: its header would have {} bytes (the limit is {})",
                path, header_bytes, kMaxSafetensorsHeader);
  const uint64_t data_begin = sizeof(header_bytes) + header_bytes;
  TESSERA_CHECK(data_begin <= file_bytes,
                "{} is not a whole safetensors file: its header would end at byte {}, it has {}",
                path, data_begin, file_bytes);

  std::string text(header_bytes, '\0');
  read_at(file_.get(), sizeof(header_bytes), std::as_writable_bytes(std::span(text)), path);
  try {
    SafetensorsHeader header = parse_safetensors_header(text, file_bytes - data_begin);
    entries_ = std::move(header.entries);
    metadata_ = std::move(header.metadata);
  } catch (const Error& error) {
    throw Error(fmt::format("{} is not a whole safetensors file: {}", path, error.what()));
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    entries_[i].offset += data_begin;
    index_.emplace(entries_[i].name, i);
  }
}

const SafetensorsEntry* SafetensorsReader::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const SafetensorsEntry& SafetensorsReader::at(std::string_view name) const {
  const SafetensorsEntry* entry = find(name);
  TESSERA_CHECK(entry != nullptr, "{} has no tensor \"{}\"", path_, name);
  return *entry;
}

void SafetensorsReader::read(const SafetensorsEntry& entry, std::span<std::byte> out) const {
  TESSERA_CHECK(out.size() == entry.bytes, "{}: tensor \"{}\" has {} bytes, the buffer {}", path_,
                entry.name, entry.bytes, out.size());
  read_at(file_.get(), entry.offset, out, path_);
  // A bool that is neither 0 nor 1 would be undefined behaviour wherever it is used.
  TESSERA_CHECK(
      entry.dtype != DType::kBool ||
          std::all_of(out.begin(), out.end(), [](std::byte b) { return b <= std::byte{1}; }),
      "{}: tensor \"{}\" is of dtype BOOL and holds a byte that is neither 0 nor 1", path_,
      entry.name);
}

void write_safetensors(const std::string& path, std::span<const SafetensorsTensor> tensors,
                       const Metadata& metadata) {
  std::vector<SafetensorsTensor> ordered(tensors.begin(), tensors.end());
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return std::tuple(size_of(b.dtype), std::string_view(a.name)) <
           std::tuple(size_of(a.dtype), std::string_view(b.name));
  });
  const std::string header = make_safetensors_header(ordered, metadata);
  TESSERA_CHECK(header.size() <= kMaxSafetensorsHeader, "cannot write {}: its header has {} bytes",
                path, header.size());
  const uint64_t header_bytes = header.size();

  std::vector<std::string_view> pieces = {
      {reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes)}, header};
  for (const SafetensorsTensor& tensor : ordered) {
    pieces.emplace_back(static_cast<const char*>(tensor.data),
                        safetensors_bytes(tensor.dtype, tensor.shape));
  }
  write_file_atomically(path, pieces);
}

}  // namespace tessera
