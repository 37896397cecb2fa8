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
  CHECK(decode_image(encode_png(picture), "p") == picture);
  CHECK(decode_image(encode_png(grey), "g") == grayscale(picture, 3));
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
  CHECK_FALSE(error_of([] { encode_png(Image(4, 4, 2)); }).empty());
}

}  // namespace tessera
