// PNG by libspng, JPEG by libjpeg-turbo.
// Rule: what is encoded here decodes to the same pixels (PNG) or to near ones (JPEG).
#include "data/encode.h"

#include <spng.h>

#include <cerrno>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "data/jpeg_library.h"
#include "engine/error.h"

namespace tessera {
namespace {

void check_picture(const char* op, const Image& image) {
  TESSERA_CHECK(image.width > 0 && image.height > 0 && (image.channels == 1 || image.channels == 3),
                "[{}] a picture of {} x {} with {} channels cannot be written", op, image.width,
                image.height, image.channels);
}

struct JpegJob {
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors{};
  std::jmp_buf leave;
  char message[JMSG_LENGTH_MAX] = "";
  unsigned char* bytes = nullptr;  // malloc'd by libjpeg
  unsigned long size = 0;

  ~JpegJob() {
    jpeg_destroy_compress(&codec);
    std::free(bytes);
  }
};

// Every call into libjpeg; no local here may need a destructor (libjpeg leaves by longjmp).
bool run(JpegJob& job, const Image& image, int quality) {
  if (setjmp(job.leave) != 0) return false;
  jpeg_create_compress(&job.codec);
  jpeg_mem_dest(&job.codec, &job.bytes, &job.size);
  job.codec.image_width = static_cast<JDIMENSION>(image.width);
  job.codec.image_height = static_cast<JDIMENSION>(image.height);
  job.codec.input_components = image.channels;
  job.codec.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&job.codec);
  jpeg_set_quality(&job.codec, quality, TRUE);
  jpeg_start_compress(&job.codec, TRUE);
  while (job.codec.next_scanline < job.codec.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(job.codec.next_scanline)));
    jpeg_write_scanlines(&job.codec, &row, 1);
  }
  jpeg_finish_compress(&job.codec);
  return true;
}

}  // namespace

std::vector<uint8_t> encode_png(const Image& image) {
  check_picture("encode_png", image);
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

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  check_picture("encode_jpeg", image);
  JpegJob job;
  job.codec.err = jpeg_std_error(&job.errors);
  job.codec.client_data = &job;
  job.errors.error_exit = [](j_common_ptr codec) {
    JpegJob& failed = *static_cast<JpegJob*>(codec->client_data);
    codec->err->format_message(codec, failed.message);
    std::longjmp(failed.leave, 1);
  };
  job.errors.output_message = [](j_common_ptr) {};
  TESSERA_CHECK(run(job, image, quality), "[encode_jpeg] {} x {}: {}", image.width, image.height,
                job.message);
  return {job.bytes, job.bytes + job.size};
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
