// PNG by libspng.
// Rule: what is encoded here decodes to the same pixels.
#include "data/encode.h"

#include <spng.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "engine/error.h"

namespace tessera {

std::vector<uint8_t> encode_png(const Image& image) {
  TESSERA_CHECK(image.width > 0 && image.height > 0 && (image.channels == 1 || image.channels == 3),
                "[encode_png] a picture of {} x {} with {} channels cannot be written", image.width,
                image.height, image.channels);
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> codec(spng_ctx_new(SPNG_CTX_ENCODER),
                                                             spng_ctx_free);
  TESSERA_CHECK(codec != nullptr, "[encode_png] no memory for the PNG encoder");
  spng_set_option(codec.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.width);
  header.height = static_cast<uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = image.channels == 1 ? SPNG_COLOR_TYPE_GRAYSCALE : SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(codec.get(), &header);
  int code = spng_encode_image(codec.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_PNG,
                               SPNG_ENCODE_FINALIZE);
  size_t size = 0;
  uint8_t* bytes = nullptr;
  if (code == 0) bytes = static_cast<uint8_t*>(spng_get_png_buffer(codec.get(), &size, &code));
  const std::unique_ptr<uint8_t, void (*)(void*)> owner(bytes, std::free);
  TESSERA_CHECK(code == 0 && bytes != nullptr, "[encode_png] {} x {}: {}", image.width,
                image.height, spng_strerror(code));
  return {bytes, bytes + size};
}

void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  const std::string partial = path + ".partial";
  std::FILE* file = std::fopen(partial.c_str(), "wb");
  TESSERA_CHECK(file != nullptr, "[write] {}: {}", path, std::strerror(errno));
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const bool closed = std::fclose(file) == 0;  // a full disk may show only here
  if (written && closed && std::rename(partial.c_str(), path.c_str()) == 0) return;
  const std::string reason = std::strerror(errno);
  std::remove(partial.c_str());
  throw Error(fmt::format("[write] {}: {}", path, reason));
}

void write_png(const std::string& path, const Image& image) { write_file(path, encode_png(image)); }

}  // namespace tessera
