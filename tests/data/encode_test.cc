// Encoding: what is written reads back.
#include "data/encode.h"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "data/decode.h"
#include "data/transforms.h"
#include "tests/data/fixtures.h"

namespace tessera {

TEST_CASE("PNG is exact, JPEG near", "[encode]") {
  const Image picture = read_image(test_file("transform_input.png"));
  const Image grey = grayscale(picture, 1);
  CHECK(decode_image(encode_png(picture), "p") == picture);
  CHECK(decode_image(encode_png(grey), "g") == grayscale(picture, 3));

  const Image jpeg = decode_image(encode_jpeg(picture, 95), "j");
  REQUIRE(jpeg.pixels.size() == picture.pixels.size());
  double error = 0;
  for (size_t i = 0; i < jpeg.pixels.size(); ++i) {
    error += std::abs(jpeg.pixels[i] - picture.pixels[i]);
  }
  CHECK(error / static_cast<double>(jpeg.pixels.size()) < 4);
  CHECK(encode_jpeg(picture, 30).size() < encode_jpeg(picture, 95).size());
  CHECK(decode_image(encode_jpeg(grey), "g").width == grey.width);
}

TEST_CASE("A file appears whole or an error names it", "[encode]") {
  const TempFolder folder;
  const Image picture = numbered_picture(3, 5, 7);
  const std::string path = folder.path() + "/out.png";
  write_png(path, picture);
  CHECK(read_image(path) == picture);
  const std::string nowhere = folder.path() + "/no/such/out.png";
  CHECK_THAT(error_of([&] { write_png(nowhere, picture); }),
             Catch::Matchers::Contains("out.png") && Catch::Matchers::Contains("No such file"));
  folder.add_folder("taken.png/x");  // a folder cannot be replaced by a file
  CHECK_FALSE(error_of([&] { write_png(folder.path() + "/taken.png", picture); }).empty());
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/taken.png.partial"));
  CHECK_FALSE(error_of([] { encode_png(Image()); }).empty());
  CHECK_FALSE(error_of([] { encode_jpeg(Image(4, 4, 2)); }).empty());
}

}  // namespace tessera
