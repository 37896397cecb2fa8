// JPEG by libjpeg-turbo, of quality 90.
#include "tests/data/encode_jpeg.h"

#include <csetjmp>
#include <cstdlib>

#include "data/jpeg_library.h"
#include "engine/error.h"

namespace tessera {
namespace {

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
bool run(JpegJob& job, const Image& image) {
  if (setjmp(job.leave) != 0) return false;
  jpeg_create_compress(&job.codec);
  jpeg_mem_dest(&job.codec, &job.bytes, &job.size);
  job.codec.image_width = static_cast<JDIMENSION>(image.width);
  job.codec.image_height = static_cast<JDIMENSION>(image.height);
  job.codec.input_components = image.channels;
  job.codec.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&job.codec);
  jpeg_set_quality(&job.codec, 90, TRUE);
  jpeg_start_compress(&job.codec, TRUE);
  while (job.codec.next_scanline < job.codec.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(job.codec.next_scanline)));
    jpeg_write_scanlines(&job.codec, &row, 1);
  }
  jpeg_finish_compress(&job.codec);
  return true;
}

}  // namespace

std::vector<uint8_t> encode_jpeg(const Image& image) {
  JpegJob job;
  job.codec.err = jpeg_std_error(&job.errors);
  job.codec.client_data = &job;
  job.errors.error_exit = [](j_common_ptr codec) {
    JpegJob& failed = *static_cast<JpegJob*>(codec->client_data);
    codec->err->format_message(codec, failed.message);
    std::longjmp(failed.leave, 1);
  };
  job.errors.output_message = [](j_common_ptr) {};
  TESSERA_CHECK(run(job, image), "[encode_jpeg] {} x {}: {}", image.width, image.height,
                job.message);
  return {job.bytes, job.bytes + job.size};
}

}  // namespace tessera
