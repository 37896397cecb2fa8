// Decoding: every kind of file becomes the same upright RGB picture, and every bad file is refused
// by name. The files in files/ were written by Pillow: 40 x 24, quarters red, green, blue and
// yellow, a white patch near the upper left corner.
#include "data/decode.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>

#include "data/exif.h"
#include "data/transforms.h"
#include "engine/philox.h"
#include "tests/data/fixtures.h"

namespace tessera {
namespace {

using Catch::Matchers::Contains;

void check_pixel(const Image& image, int y, int x, int r, int g, int b, int margin) {
  INFO("pixel (" << y << ", " << x << ")");
  CHECK(std::abs(image.at(y, x, 0) - r) <= margin);
  CHECK(std::abs(image.at(y, x, 1) - g) <= margin);
  CHECK(std::abs(image.at(y, x, 2) - b) <= margin);
}

void check_quarters(const Image& image, int margin) {
  REQUIRE(image.width == 40);
  REQUIRE(image.height == 24);
  REQUIRE(image.channels == 3);
  check_pixel(image, 9, 15, 220, 30, 30, margin);
  check_pixel(image, 4, 32, 30, 200, 40, margin);
  check_pixel(image, 19, 4, 40, 60, 210, margin);
  check_pixel(image, 19, 35, 235, 215, 60, margin);
  check_pixel(image, 3, 5, 255, 255, 255, margin);
}

std::string refusal(std::vector<uint8_t> bytes, const DecodeLimits& limits = {}) {
  return error_of([&] { decode_image(bytes, "some.file", limits); });
}

void put_u32(std::vector<uint8_t>& bytes, size_t at, uint32_t v) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(v >> (24 - 8 * i));
}

// CRC-32 of PNG, bit by bit.
uint32_t crc_of(const uint8_t* data, size_t size) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

}  // namespace

TEST_CASE("EXIF orientation: all eight come out upright", "[decode]") {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    INFO("orientation " << orientation);
    const std::string name = "orientation_" + std::to_string(orientation) + ".jpg";
    check_quarters(read_image(test_file(name)), 8);
  }
  check_quarters(read_image(test_file("orientation_6.png")), 0);
}

TEST_CASE("EXIF blocks that make no sense mean upright", "[decode]") {
  const std::vector<uint8_t> good = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3,
                                     0,   1,   0,  0, 0, 6, 0, 0, 0, 0, 0,    0,    0};
  CHECK(exif_orientation(good) == 6);
  const std::vector<uint8_t> big = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0,
                                    3,   0,   0, 0,  1, 0, 5, 0, 0, 0, 0,    0,    0};
  CHECK(exif_orientation(big) == 5);
  for (size_t cut = 0; cut < 22; ++cut) {
    CHECK(exif_orientation(std::span(good).first(cut)) == 1);
  }
  auto with = [&](size_t at, uint8_t value) {
    std::vector<uint8_t> changed = good;
    changed[at] = value;
    return exif_orientation(changed);
  };
  CHECK(with(18, 9) == 1);    // no such orientation
  CHECK(with(12, 4) == 1);    // not a short
  CHECK(with(7, 0xff) == 1);  // directory far outside
  CHECK(with(9, 0xff) == 6);  // more entries than fit, the first is there
  CHECK(with(10, 0x13) == 1);
}

TEST_CASE("Grey, palette, alpha, 16-bit and 1-bit files become RGB", "[decode]") {
  const Image rgb = read_image(test_file("rgb.png"));
  check_quarters(rgb, 0);
  CHECK(read_image(test_file("palette.png")) == rgb);
  CHECK(read_image(test_file("palette_transparent.png")) == rgb);  // transparency is dropped
  CHECK(read_image(test_file("alpha.png")) == rgb);                // not composited
  const Image grey = grayscale(rgb, 3);
  CHECK(read_image(test_file("grey.png")) == grey);
  CHECK(read_image(test_file("grey_alpha.png")) == grey);
  const Image grey_jpeg = read_image(test_file("grey.jpg"));
  check_pixel(grey_jpeg, 9, 15, grey.at(9, 15, 0), grey.at(9, 15, 0), grey.at(9, 15, 0), 4);

  const Image deep = read_image(test_file("grey_16.png"));
  for (int y = 0; y < deep.height; ++y) {
    for (int x = 0; x < deep.width; ++x) {
      REQUIRE(deep.at(y, x, 0) == (y * 1000 + x * 25) >> 8);
      REQUIRE(deep.at(y, x, 2) == deep.at(y, x, 0));
    }
  }
  const Image bits = read_image(test_file("bits_1.png"));
  CHECK(bits.at(3, 4, 0) == 255);
  CHECK(bits.at(20, 35, 0) == 0);
}

TEST_CASE("CMYK with Adobe's inversion equals Pillow's RGB", "[decode]") {
  const Image got = read_image(test_file("cmyk.jpg"));
  const Image want = read_image(test_file("cmyk_as_rgb.png"));
  REQUIRE(got.pixels.size() == want.pixels.size());
  int most = 0;
  for (size_t i = 0; i < got.pixels.size(); ++i) {
    most = std::max(most, std::abs(got.pixels[i] - want.pixels[i]));
  }
  CHECK(most <= 1);  // two builds of libjpeg-turbo may round a coefficient differently
}

TEST_CASE("A progressive JPEG holds the same picture as a baseline one", "[decode]") {
  CHECK(read_image(test_file("progressive.jpg")) == read_image(test_file("orientation_1.jpg")));
}

TEST_CASE("Content decides, not the suffix", "[decode]") {
  const TempFolder folder;
  const std::string png = folder.add("really_a_png.jpg", bytes_of(test_file("rgb.png")));
  check_quarters(read_image(png), 0);
  const std::string text = folder.add_text("notes.jpg", "dear diary");
  CHECK_THAT(error_of([&] { read_image(text); }),
             Contains("notes.jpg") && Contains("not a JPEG or PNG"));
  CHECK_THAT(refusal({}), Contains("an empty file"));
  CHECK_THAT(refusal({'G', 'I', 'F', '8', '9', 'a'}), Contains("a GIF"));
  const std::string missing = folder.path() + "/missing.png";
  CHECK_THAT(error_of([&] { read_image(missing); }),
             Contains("missing.png") && Contains("No such file"));
}

TEST_CASE("A file cut at any length is refused by name", "[decode]") {
  for (const char* name : {"orientation_1.jpg", "progressive.jpg", "grey.jpg", "rgb.png"}) {
    const std::vector<uint8_t> whole = bytes_of(test_file(name));
    REQUIRE_FALSE(whole.empty());
    // The last marker (JPEG) and the end chunk (PNG) may be missing: the pixels are complete.
    const size_t end = whole.size() - (std::string(name).ends_with("png") ? 16 : 6);
    for (size_t cut = 0; cut < end; cut += 3) {
      INFO(name << " cut at " << cut);
      const std::string message = refusal({whole.begin(), whole.begin() + cut});
      REQUIRE_THAT(message, Contains("some.file"));
      if (cut > 40) REQUIRE_THAT(message, Contains("truncated"));
    }
  }
}

TEST_CASE("Damaged files decode or are refused, nothing else", "[decode]") {
  PhiloxStream random({11, 0, 0});
  for (const char* name : {"orientation_6.jpg", "progressive.jpg", "cmyk.jpg", "palette.png"}) {
    const std::vector<uint8_t> whole = bytes_of(test_file(name));
    for (int trial = 0; trial < 400; ++trial) {
      std::vector<uint8_t> bytes = whole;
      for (int k = 0; k < 3; ++k) {
        bytes[random.below(static_cast<int64_t>(bytes.size()))] =
            static_cast<uint8_t>(random.bits());
      }
      const DecodeLimits small = {.max_pixels = 1 << 20};
      const std::string message = refusal(bytes, small);
      if (!message.empty()) REQUIRE_THAT(message, Contains("some.file"));
    }
  }
}

TEST_CASE("Huge pictures are refused from their header", "[decode]") {
  std::vector<uint8_t> png = bytes_of(test_file("rgb.png"));
  put_u32(png, 16, 60'000);
  put_u32(png, 20, 60'000);
  put_u32(png, 29, crc_of(&png[12], 17));
  const auto start = std::chrono::steady_clock::now();
  CHECK_THAT(refusal(png), Contains("60000 x 60000") && Contains("89478485"));

  std::vector<uint8_t> jpeg = bytes_of(test_file("progressive.jpg"));
  size_t frame = 0;
  while (!(jpeg[frame] == 0xff && jpeg[frame + 1] == 0xc2)) ++frame;
  jpeg[frame + 5] = jpeg[frame + 7] = 0xfd;
  CHECK_THAT(refusal(jpeg), Contains("pixels, the limit is"));
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(took < std::chrono::milliseconds(100));

  CHECK(refusal(bytes_of(test_file("rgb.png")), {.max_pixels = 40 * 24}).empty());
  CHECK_FALSE(refusal(bytes_of(test_file("rgb.png")), {.max_pixels = 40 * 24 - 1}).empty());
}

TEST_CASE("A JPEG of endless scans and one of much working memory are refused", "[decode]") {
  const std::vector<uint8_t> jpeg = bytes_of(test_file("progressive.jpg"));
  size_t scan = 0;
  while (!(jpeg[scan] == 0xff && jpeg[scan + 1] == 0xda)) ++scan;
  size_t next = scan + 2;  // the next marker that is no stuffed 0 ends the scan
  while (!(jpeg[next] == 0xff && jpeg[next + 1] != 0)) ++next;
  std::vector<uint8_t> bomb(jpeg.begin(), jpeg.begin() + next);
  for (int i = 0; i < 300; ++i) bomb.insert(bomb.end(), jpeg.begin() + scan, jpeg.begin() + next);
  bomb.insert(bomb.end(), jpeg.begin() + next, jpeg.end());
  CHECK_THAT(refusal(bomb), Contains("more scans"));
  CHECK(refusal(bomb, {.max_scans = 400}).empty());

  std::vector<uint8_t> tall = jpeg;
  size_t frame = 0;
  while (!(tall[frame] == 0xff && tall[frame + 1] == 0xc2)) ++frame;
  tall[frame + 5] = 0x20;  // 8,216 rows of coefficients are kept until the last scan
  CHECK_THAT(refusal(tall, {.max_decoder_bytes = 100'000}), Contains("working memory"));
}

TEST_CASE("A file above the size limit is not read", "[decode]") {
  CHECK_THAT(error_of([] { read_image(test_file("rgb.png"), {.max_file_bytes = 100}); }),
             Contains("the limit is 100"));
}

}  // namespace tessera
