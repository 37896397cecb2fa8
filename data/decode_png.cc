// PNG through libspng.
// Rule: colour is converted by libspng to 8-bit RGB without gamma or compositing; size and chunk
// limits are set before the first byte of pixels is asked for.
#include <spng.h>

#include <memory>

#include "data/decode_formats.h"
#include "data/exif.h"

namespace tessera {
namespace {

constexpr size_t kMaxChunkBytes = 16u << 20;  // text and profiles that nobody reads

void check_png(int code, const char* what, const std::string& name) {
  TESSERA_CHECK(code == 0, "[decode] {}: {}: {}", name, what, spng_strerror(code));
}

}  // namespace

Image decode_png(std::span<const uint8_t> bytes, const std::string& name,
                 const DecodeLimits& limits) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> codec(spng_ctx_new(0), spng_ctx_free);
  TESSERA_CHECK(codec != nullptr, "[decode] {}: no memory for the PNG decoder", name);
  spng_set_chunk_limits(codec.get(), kMaxChunkBytes, kMaxChunkBytes);
  spng_set_png_buffer(codec.get(), bytes.data(), bytes.size());

  spng_ihdr header{};
  check_png(spng_get_ihdr(codec.get(), &header), "not a readable PNG", name);
  check_pixels(header.width, header.height, name, limits);

  size_t size = 0;
  check_png(spng_decoded_image_size(codec.get(), SPNG_FMT_RGB8, &size), "not a readable PNG", name);
  Image image(static_cast<int>(header.width), static_cast<int>(header.height), 3);
  TESSERA_CHECK(size == image.pixels.size(), "[decode] {}: libspng wants {} bytes for {} x {} RGB",
                name, size, header.width, header.height);
  const int code = spng_decode_image(codec.get(), image.pixels.data(), size, SPNG_FMT_RGB8, 0);
  const bool cut = code == SPNG_EOF || code == SPNG_IO_EOF || code == SPNG_EIDAT_TOO_SHORT;
  check_png(code, cut ? "truncated PNG" : "not a readable PNG", name);

  spng_exif exif{};
  if (spng_get_exif(codec.get(), &exif) != 0) return image;  // none, or one that makes no sense
  return upright(std::move(image),
                 exif_orientation({reinterpret_cast<const uint8_t*>(exif.data), exif.length}));
}

}  // namespace tessera
