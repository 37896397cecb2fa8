// Encoding: what is written reads back.
#include "data/encode.h"

#include <catch2/catch.hpp>

#include "data/decode.h"
#include "data/transforms.h"
#include "tests/data/fixtures.h"

namespace tessera {

TEST_CASE("PNG is exact", "[encode]") {
  const Image picture = read_image(test_file("transform_input.png"));
  const Image grey = grayscale(picture, 1);
  const auto decoded = [](const std::string& png) {
    return decode_image({reinterpret_cast<const uint8_t*>(png.data()), png.size()}, "png");
  };
  CHECK(decoded(encode_png(picture)) == picture);
  CHECK(decoded(encode_png(grey)) == grayscale(picture, 3));
}

TEST_CASE("What is no picture is refused", "[encode]") {
  CHECK_FALSE(error_of([] { encode_png(Image()); }).empty());
  CHECK_FALSE(error_of([] { encode_png(Image(4, 4, 2)); }).empty());
}

}  // namespace tessera
