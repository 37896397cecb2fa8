// Colour: blends towards grey, black and smooth, hue through HSV, luma.
// Rule: Pillow's arithmetic, type by type (float where it has float, truncation where it
// truncates).
#include <algorithm>
#include <cmath>

#include "data/transforms.h"
#include "engine/error.h"

namespace tessera {
namespace {

void check_color(const char* op, const Image& image) {
  TESSERA_CHECK(image.channels == 1 || image.channels == 3, "[{}] {} channels, wanted 1 or 3", op,
                image.channels);
}

void check_factor(const char* op, double factor) {
  TESSERA_CHECK(factor >= 0 && std::isfinite(factor), "[{}] factor {} is not a number from 0 on",
                op, factor);
}

uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

// from + factor * (to - from): truncated between the two, clipped beyond them.
uint8_t blend(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

struct Hsv {
  uint8_t h, s, v;
};

Hsv hsv_of(const uint8_t* rgb) {
  const int r = rgb[0], g = rgb[1], b = rgb[2];
  const int high = std::max({r, g, b}), low = std::min({r, g, b});
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  const float range = static_cast<float>(high - low);
  const float s = range / static_cast<float>(high);
  const float rc = static_cast<float>(high - r) / range;
  const float gc = static_cast<float>(high - g) / range;
  const float bc = static_cast<float>(high - b) / range;
  float h;
  if (r == high)
    h = bc - gc;
  else if (g == high)
    h = static_cast<float>(2.0 + rc - bc);
  else
    h = static_cast<float>(4.0 + gc - rc);
  h = static_cast<float>(std::fmod(h / 6.0 + 1.0, 1.0));
  return {static_cast<uint8_t>(std::clamp(static_cast<int>(h * 255.0), 0, 255)),
          static_cast<uint8_t>(std::clamp(static_cast<int>(s * 255.0), 0, 255)),
          static_cast<uint8_t>(high)};
}

void rgb_of(const Hsv& hsv, uint8_t* rgb) {
  if (hsv.s == 0) {
    rgb[0] = rgb[1] = rgb[2] = hsv.v;
    return;
  }
  const double sextant = static_cast<float>(hsv.h) * 6.0 / 255.0;
  const int i = static_cast<int>(std::floor(sextant));
  const float f = static_cast<float>(sextant - static_cast<float>(i));
  const float s = static_cast<float>(static_cast<float>(hsv.s) / 255.0);
  const float v = hsv.v;
  auto level = [](double x) { return static_cast<uint8_t>(std::clamp(std::round(x), 0.0, 255.0)); };
  const uint8_t p = level(v * (1.0 - s)), q = level(v * (1.0 - s * f));
  const uint8_t t = level(v * (1.0 - s * (1.0 - f)));
  const uint8_t table[6][3] = {{hsv.v, t, p}, {q, hsv.v, p}, {p, hsv.v, t},
                               {p, q, hsv.v}, {t, p, hsv.v}, {hsv.v, p, q}};
  std::copy_n(table[i % 6], 3, rgb);
}

}  // namespace

Image adjust_brightness(const Image& image, double factor) {
  check_factor("adjust_brightness", factor);
  Image out = image;
  for (uint8_t& p : out.pixels) p = blend(0, p, static_cast<float>(factor));
  return out;
}

Image adjust_contrast(const Image& image, double factor) {
  check_color("adjust_contrast", image);
  check_factor("adjust_contrast", factor);
  if (image.pixels.empty()) return image;
  const Image grey = grayscale(image, 1);
  int64_t sum = 0;
  for (uint8_t p : grey.pixels) sum += p;
  const int mean =
      static_cast<int>(static_cast<double>(sum) / static_cast<double>(grey.pixels.size()) + 0.5);
  Image out = image;
  for (uint8_t& p : out.pixels) p = blend(mean, p, static_cast<float>(factor));
  return out;
}

Image adjust_saturation(const Image& image, double factor) {
  check_color("adjust_saturation", image);
  check_factor("adjust_saturation", factor);
  if (image.channels == 1) return image;
  Image out = image;
  for (size_t i = 0; i < out.pixels.size(); i += 3) {
    const int grey = luma(&image.pixels[i]);
    for (size_t c = 0; c < 3; ++c) {
      out.pixels[i + c] = blend(grey, image.pixels[i + c], static_cast<float>(factor));
    }
  }
  return out;
}

Image adjust_hue(const Image& image, double factor) {
  check_color("adjust_hue", image);
  TESSERA_CHECK(factor >= -0.5 && factor <= 0.5, "[adjust_hue] factor {} is not in -0.5..0.5",
                factor);
  if (image.channels == 1) return image;
  const uint8_t shift = static_cast<uint8_t>(static_cast<int>(factor * 255));  // wraps around
  Image out = image;
  for (size_t i = 0; i < out.pixels.size(); i += 3) {
    Hsv hsv = hsv_of(&image.pixels[i]);
    hsv.h = static_cast<uint8_t>(hsv.h + shift);
    rgb_of(hsv, &out.pixels[i]);
  }
  return out;
}

Image adjust_sharpness(const Image& image, double factor) {
  check_factor("adjust_sharpness", factor);
  Image out = image;
  const int step = image.channels;
  for (int y = 1; y + 1 < image.height; ++y) {
    for (int i = step; i + step < static_cast<int>(image.row_bytes()); ++i) {
      int sum = 4 * image.row(y)[i];
      for (int dy = -1; dy <= 1; ++dy) {
        const uint8_t* row = image.row(y + dy) + i;
        sum += row[-step] + row[0] + row[step];
      }
      const int smooth = (2 * sum + 13) / 26;  // sum / 13, rounded
      out.row(y)[i] = blend(smooth, image.row(y)[i], static_cast<float>(factor));
    }
  }
  return out;
}

Image grayscale(const Image& image, int channels) {
  check_color("grayscale", image);
  TESSERA_CHECK(channels == 1 || channels == 3, "[grayscale] {} channels, wanted 1 or 3", channels);
  Image out(image.width, image.height, channels);
  const size_t pixels = static_cast<size_t>(image.width) * image.height;
  for (size_t i = 0; i < pixels; ++i) {
    const uint8_t value = image.channels == 1 ? image.pixels[i] : luma(&image.pixels[3 * i]);
    for (int c = 0; c < channels; ++c) out.pixels[i * channels + c] = value;
  }
  return out;
}

}  // namespace tessera
