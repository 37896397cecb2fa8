// JPEG through libjpeg-turbo's classic interface, with its default (exact) settings: slow integer
// DCT and smooth chroma, as Pillow uses them.
// Rule: libjpeg leaves by longjmp, so everything with a destructor lives in Job, outside the
// function it jumps out of. Data that ends early is an error; libjpeg alone would fill in grey.
#include <csetjmp>
#include <cstring>

#include "data/decode_formats.h"
#include "data/exif.h"
#include "data/jpeg_library.h"

namespace tessera {
namespace {

struct Job {
  jpeg_decompress_struct codec{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf leave;
  char message[JMSG_LENGTH_MAX] = "";
  bool ended_early = false;
  int max_scans = 0;
  int orientation = 1;
  Image image;

  ~Job() { jpeg_destroy_decompress(&codec); }
};

Job& job_of(j_common_ptr codec) { return *static_cast<Job*>(codec->client_data); }

[[noreturn]] void fail_with(j_common_ptr codec, const char* message) {
  std::snprintf(job_of(codec).message, JMSG_LENGTH_MAX, "%s", message);
  std::longjmp(job_of(codec).leave, 1);
}

[[noreturn]] void fail(j_common_ptr codec) {
  if (codec->err->msg_code == JERR_NO_BACKING_STORE) {  // libjpeg would put the rest on disk
    fail_with(codec, "it needs more working memory than is allowed");
  }
  char message[JMSG_LENGTH_MAX];
  codec->err->format_message(codec, message);
  fail_with(codec, message);
}

void ignore_message(j_common_ptr) {}

// Corrupt codes inside the data are survived, as Pillow does.
void ignore_warning(j_common_ptr codec, int level) {
  if (level < 0) ++codec->err->num_warnings;
}

boolean out_of_data(j_decompress_ptr codec) {
  job_of(reinterpret_cast<j_common_ptr>(codec)).ended_early = true;
  fail_with(reinterpret_cast<j_common_ptr>(codec), "truncated");
}

void skip_data(j_decompress_ptr codec, long count) {
  if (count <= 0) return;
  if (static_cast<size_t>(count) > codec->src->bytes_in_buffer) out_of_data(codec);
  codec->src->next_input_byte += count;
  codec->src->bytes_in_buffer -= static_cast<size_t>(count);
}

// A small file can ask for thousands of passes over a large picture.
void watch_scans(j_common_ptr codec) {
  Job& job = job_of(codec);
  if (codec->is_decompressor && job.codec.input_scan_number > job.max_scans) {
    fail_with(codec, "more scans than a picture needs");
  }
}

void read_orientation(Job& job) {
  constexpr char kExif[] = "Exif\0";  // with the literal's own zero: six bytes
  for (jpeg_saved_marker_ptr m = job.codec.marker_list; m != nullptr; m = m->next) {
    if (m->data_length > sizeof(kExif) && std::memcmp(m->data, kExif, sizeof(kExif)) == 0) {
      job.orientation = exif_orientation({m->data + sizeof(kExif), m->data_length - sizeof(kExif)});
      return;
    }
  }
}

// One row of the decoder's colours to RGB, in place at the end of which 3 * width bytes are valid.
void grey_to_rgb(uint8_t* row, int width) {
  for (int x = width - 1; x >= 0; --x) {
    const uint8_t v = row[x];
    row[3 * x] = row[3 * x + 1] = row[3 * x + 2] = v;
  }
}

// Adobe writes 255 - ink, so a stored value is light: red = light through cyan times light through
// black, rounded exactly as Pillow rounds it.
void inverted_cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int width) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int light = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * light + 128;
      const int value = light - (((product >> 8) + product) >> 8);
      rgb[c] = static_cast<uint8_t>(value < 0 ? 0 : value);
    }
  }
}

// Every call into libjpeg; false when it left early. No local here may need a destructor.
bool run(Job& job, std::span<const uint8_t> bytes, const DecodeLimits& limits) {
  jpeg_decompress_struct& codec = job.codec;
  if (setjmp(job.leave) != 0) return false;
  jpeg_create_decompress(&codec);
  codec.mem->max_memory_to_use = static_cast<long>(limits.max_decoder_bytes);
  codec.src = &job.source;
  job.source.next_input_byte = bytes.data();
  job.source.bytes_in_buffer = bytes.size();
  codec.progress = &job.progress;
  jpeg_save_markers(&codec, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&codec, TRUE);
  read_orientation(job);
  if (static_cast<int64_t>(codec.image_width) * codec.image_height > limits.max_pixels) {
    return true;  // the caller names the size
  }
  const bool cmyk = codec.num_components == 4;
  const bool grey = codec.num_components == 1;
  codec.out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&codec);
  const int width = static_cast<int>(codec.output_width);
  job.image = Image(width, static_cast<int>(codec.output_height), 3);
  JSAMPARRAY wide = nullptr;  // CMYK rows are wider than ours; libjpeg's pool owns this one
  if (cmyk) {
    wide = codec.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&codec), JPOOL_IMAGE,
                                   static_cast<JDIMENSION>(width) * 4, 1);
  }
  while (codec.output_scanline < codec.output_height) {
    uint8_t* row = job.image.row(static_cast<int>(codec.output_scanline));
    jpeg_read_scanlines(&codec, cmyk ? wide : &row, 1);
    if (cmyk) inverted_cmyk_to_rgb(wide[0], row, width);
    if (grey) grey_to_rgb(row, width);
  }
  return true;  // what follows the last row is not looked at: Pillow accepts a missing end marker
}

}  // namespace

Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name,
                  const DecodeLimits& limits) {
  Job job;
  job.codec.err = jpeg_std_error(&job.errors);
  job.codec.client_data = &job;
  job.errors.error_exit = fail;
  job.errors.output_message = ignore_message;
  job.errors.emit_message = ignore_warning;
  job.source.init_source = [](j_decompress_ptr) {};
  job.source.term_source = [](j_decompress_ptr) {};
  job.source.fill_input_buffer = out_of_data;
  job.source.skip_input_data = skip_data;
  job.source.resync_to_restart = jpeg_resync_to_restart;
  job.progress.progress_monitor = watch_scans;
  job.max_scans = limits.max_scans;

  const bool whole = run(job, bytes, limits);
  const jpeg_decompress_struct& codec = job.codec;
  TESSERA_CHECK(!job.ended_early || codec.image_height > 0,
                "[decode] {}: truncated JPEG: its {} bytes end inside the header", name,
                bytes.size());
  TESSERA_CHECK(!job.ended_early,
                "[decode] {}: truncated JPEG: its {} bytes end before row {} of {}", name,
                bytes.size(), codec.output_scanline, codec.image_height);
  TESSERA_CHECK(whole, "[decode] {}: not a readable JPEG: {}", name, job.message);
  check_pixels(codec.image_width, codec.image_height, name, limits);
  return upright(std::move(job.image), job.orientation);
}

}  // namespace tessera
