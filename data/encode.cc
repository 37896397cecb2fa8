// PNG by libspng.
// Rule: what is encoded here decodes to the same pixels.
#include "data/encode.h"

#include <spng.h>

#include <cstdlib>
#include <memory>

#include "engine/error.h"

namespace tessera {

std::string encode_png(const Image& image) {
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
  char* bytes = nullptr;
  if (code == 0) bytes = static_cast<char*>(spng_get_png_buffer(codec.get(), &size, &code));
  const std::unique_ptr<char, void (*)(void*)> owner(bytes, std::free);
  TESSERA_CHECK(code == 0 && bytes != nullptr, "[encode_png] {} x {}: {}", image.width,
                image.height, spng_strerror(code));
  return {bytes, size};
}

}  // namespace tessera
