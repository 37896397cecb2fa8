// Letters, rectangles and magnified pictures, dot by dot.
#include "data/draw.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace tessera {
namespace {

// The picture's rows with '#' for dark dots.
std::vector<std::string> rows_of(const Image& image) {
  std::vector<std::string> rows;
  for (int y = 0; y < image.height; ++y) {
    rows.emplace_back();
    for (int x = 0; x < image.width; ++x) rows.back() += image.at(y, x, 0) < 128 ? '#' : '.';
  }
  return rows;
}

std::vector<std::string> drawn(std::string_view text) {
  Image image = blank_picture(text_width(text), kLetterHeight, kWhite);
  draw_text(image, 0, 0, text, kBlack);
  return rows_of(image);
}

}  // namespace

TEST_CASE("letters are drawn as they look") {
  CHECK(drawn("Lp") == std::vector<std::string>{"#...........",  //
                                                "#...........",  //
                                                "#.....####..",  //
                                                "#.....#...#.",  //
                                                "#.....####..",  //
                                                "#.....#.....",  //
                                                "#####.#.....",  //
                                                "............"});
}

TEST_CASE("every printable character has a look of its own, others are a box") {
  std::set<std::vector<std::string>> looks;
  for (char c = ' '; c <= '~'; ++c) looks.insert(drawn(std::string(1, c)));
  CHECK(looks.size() == 95);
  CHECK(drawn("\t") == drawn("\xC3\xA4"));  // a letter of two bytes is one box
  CHECK(looks.count(drawn("\t")) == 0);
  CHECK(text_width("\xC3\xA4r") == 2 * kLetterWidth);
  CHECK(text_width("abc", 3) == 9 * kLetterWidth);
}

TEST_CASE("text upwards is text turned to the left, and both can be magnified") {
  const std::string_view text = "Fig 7";
  const std::vector<std::string> flat = drawn(text);
  Image turned = blank_picture(kLetterHeight, text_width(text), kWhite);
  draw_text_upwards(turned, 0, 0, text, kBlack);
  const std::vector<std::string> up = rows_of(turned);
  Image large = blank_picture(2 * text_width(text), 2 * kLetterHeight, kWhite);
  draw_text(large, 0, 0, text, kBlack, 2);
  const std::vector<std::string> twice = rows_of(large);
  for (int y = 0; y < kLetterHeight; ++y) {
    for (int x = 0; x < text_width(text); ++x) {
      CHECK(up[text_width(text) - 1 - x][y] == flat[y][x]);
      CHECK(twice[2 * y + 1][2 * x + 1] == flat[y][x]);
    }
  }
}

TEST_CASE("what falls outside is cut off") {
  Image image = blank_picture(4, 3, kWhite);
  fill_rectangle(image, -2, -2, 4, 3, kBlack);
  fill_rectangle(image, 3, 2, 100, 100, {9, 8, 7});
  CHECK(rows_of(image) == std::vector<std::string>{"##..", "....", "...#"});
  CHECK(image.at(2, 3, 1) == 8);
  const Image before = image;
  draw_text(image, 50, 50, "far away", kBlack);
  draw_text(image, -500, 0, "far away", kBlack);
  CHECK(image == before);
}

TEST_CASE("values become a picture, a picture is magnified, grey as colour") {
  const float values[] = {-1, 0.5f, 1, 2};  // (1, 2, 2)
  const Image grey = picture_of(values, 1, 2, 2);
  CHECK(grey.pixels == std::vector<uint8_t>{0, 128, 255, 255});
  Image on = blank_picture(6, 5, {1, 2, 3});
  draw_picture(on, 1, 1, grey, 2);
  CHECK(on.at(0, 0, 2) == 3);
  for (int c = 0; c < 3; ++c) {
    CHECK(on.at(1, 1, c) == 0);
    CHECK(on.at(2, 4, c) == 128);
    CHECK(on.at(4, 2, c) == 255);
  }
  const float colours[] = {0, 1, 0.2f};  // (3, 1, 1)
  CHECK(picture_of(colours, 3, 1, 1).pixels == std::vector<uint8_t>{0, 255, 51});
}

}  // namespace tessera
