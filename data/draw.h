// Drawing on pictures: rectangles, magnified pictures and small letters, for the sheets that the
// program writes. Rule: what falls outside the picture is cut off; colours cover, nothing blends.
#pragma once

#include <cstdint>
#include <string_view>

#include "data/image.h"

namespace tessera {

struct Color {
  uint8_t red = 0, green = 0, blue = 0;
  bool operator==(const Color&) const = default;
};

inline constexpr Color kBlack = {0, 0, 0}, kWhite = {255, 255, 255}, kInk = {40, 40, 40};

// An RGB picture of one colour.
Image blank_picture(int width, int height, Color color);

void fill_rectangle(Image& on, int left, int top, int width, int height, Color color);

// `picture` (1 or 3 channels), each pixel scale x scale.
void draw_picture(Image& on, int left, int top, const Image& picture, int scale = 1);

// Values (C, H, W), C 1 or 3, as a picture: 0 is black, 1 is white, what lies outside is cut off.
Image picture_of(const float* values, int64_t channels, int64_t height, int64_t width);

// Letters of 5 x 7 dots in cells of 6 x 8, each dot scale x scale. Known are the printable
// characters of ASCII; any other byte that begins a character (UTF-8) is drawn as a box.
inline constexpr int kLetterWidth = 6, kLetterHeight = 8;
int text_width(std::string_view text, int scale = 1);
void draw_text(Image& on, int left, int top, std::string_view text, Color color, int scale = 1);
// Turned a quarter to the left: it begins at the bottom of a box text_width() high.
void draw_text_upwards(Image& on, int left, int top, std::string_view text, Color color,
                       int scale = 1);

}  // namespace tessera
