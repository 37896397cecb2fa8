// The one thing a picture's EXIF block is read for: which way up it is.
// Rule: the block is foreign data of any content; every offset is checked, and whatever makes no
// sense means "upright".
#pragma once

#include <cstdint>
#include <span>

#include "data/image.h"

namespace tessera {

// The orientation (1..8, tag 0x0112 of the first directory) in a TIFF block, i.e. what follows
// "Exif\0\0" in a JPEG's APP1 or stands in a PNG's eXIf chunk. 1 where there is none.
int exif_orientation(std::span<const uint8_t> tiff);

// The picture turned and mirrored so that orientation 1 holds: 2 mirrored, 3 turned by 180 degrees,
// 4 mirrored top to bottom, 5 transposed, 6 turned clockwise, 7 anti-transposed, 8 anticlockwise.
Image upright(Image image, int orientation);

}  // namespace tessera
