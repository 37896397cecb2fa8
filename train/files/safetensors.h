// Safetensors files: named tensors and string metadata, as other tools read and write them
// (github.com/huggingface/safetensors, "Format"): 8 bytes of header length, a JSON header, the
// data. Rule: nothing a file says is believed before it is checked against the file's size; every
// failure is one line that names the file. Data stays on disk until somebody asks for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/dtype.h"
#include "engine/shape.h"
#include "train/files/file_io.h"

namespace tessera {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes; the format's own limit

using Metadata = std::map<std::string, std::string>;

// A tensor in a file.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;   // numel(shape) * size_of(dtype)
};

// An open file whose header has been checked in full: known dtypes, sizes that agree, data without
// holes or overlaps that ends where the file ends. A missing file is a UsageError, a broken one an
// Error.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in file order
  const Metadata& metadata() const { return metadata_; }

  const SafetensorsEntry* find(std::string_view name) const;  // nullptr when there is none
  const SafetensorsEntry& at(std::string_view name) const;    // an Error names file and tensor

  // Fills `out` (entry.bytes long, row-major, little-endian) from the file.
  void read(const SafetensorsEntry& entry, std::span<std::byte> out) const;

 private:
  std::string path_;
  FileDescriptor file_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, size_t, std::less<>> index_;  // name -> place in entries_
  Metadata metadata_;
};

// A contiguous row-major tensor in memory, to be written. The data must outlive the call.
struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;
};

// Writes a file atomically and durably (atomic_file.h), straight from the tensors' memory. The same
// tensors and metadata give the same bytes: tensors are ordered by element size, largest first,
// then by name, so that each is aligned; the header is padded with spaces to 8 bytes.
void write_safetensors(const std::string& path, std::span<const SafetensorsTensor> tensors,
                       const Metadata& metadata);

}  // namespace tessera
