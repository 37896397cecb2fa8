// Sniffing by content and reading files; the formats themselves are in decode_jpeg.cc and
// decode_png.cc.
// Rule: nothing is guessed from the name.
#include "data/decode.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

#include "data/decode_formats.h"

namespace tessera {
namespace {

bool starts_with(std::span<const uint8_t> bytes, std::string_view magic, size_t at = 0) {
  return bytes.size() >= at + magic.size() &&
         std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

// A name for what was found instead of a JPEG or PNG: it tells the user what to convert.
const char* other_kind(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return "an empty file";
  if (starts_with(bytes, "GIF8")) return "a GIF";
  if (starts_with(bytes, "RIFF") && starts_with(bytes, "WEBP", 8)) return "a WebP";
  if (starts_with(bytes, "BM")) return "a BMP";
  if (starts_with(bytes, std::string_view("II*\0", 4)) ||
      starts_with(bytes, std::string_view("MM\0*", 4))) {
    return "a TIFF";
  }
  if (starts_with(bytes, "ftyp", 4)) return "a HEIF, AVIF or video";
  return "something else";
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const DecodeLimits& limits) {
  if (starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes, name, limits);
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, name, limits);
  throw Error(fmt::format("[decode] {}: not a JPEG or PNG but {}", name, other_kind(bytes)));
}

Image read_image(const std::string& path, const DecodeLimits& limits) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  TESSERA_CHECK(file, "[decode] {}: cannot be opened: {}", path, std::strerror(errno));
  const int64_t size = file.tellg();
  TESSERA_CHECK(size >= 0, "[decode] {}: cannot be read", path);
  TESSERA_CHECK(size <= limits.max_file_bytes, "[decode] {}: {} bytes, the limit is {}", path, size,
                limits.max_file_bytes);
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  TESSERA_CHECK(file.gcount() == size, "[decode] {}: cannot be read: {}", path,
                std::strerror(errno));
  return decode_image(bytes, path, limits);
}

}  // namespace tessera
