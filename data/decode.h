// Picture files to RGB: JPEG and PNG, told apart by content, never by suffix.
// Rule: a file is refused from its header before any memory is taken for its pixels, and every
// refusal is an Error that names the file and what is wrong with it. Colours are those of Pillow's
// Image.open(f).convert("RGB"): grey and palette are expanded, alpha is dropped, 16 bits keep their
// upper 8, CMYK and YCCK follow Adobe's inverted convention. Unlike Pillow, the EXIF orientation is
// applied: the picture comes out as a viewer shows it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/image.h"

namespace tessera {

struct DecodeLimits {
  int64_t max_pixels = 89'478'485;               // Pillow's limit: a quarter GiB of RGB
  int64_t max_file_bytes = int64_t{512} << 20;   // larger files are not read
  int64_t max_decoder_bytes = int64_t{1} << 30;  // working memory of a progressive JPEG
  int max_scans = 200;                           // scans of a progressive JPEG; real ones have 10
};

// `name` is what errors call the picture. Safe to call from many threads.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const DecodeLimits& limits = {});

// The same for a file; also an Error when it cannot be read.
Image read_image(const std::string& path, const DecodeLimits& limits = {});

}  // namespace tessera
