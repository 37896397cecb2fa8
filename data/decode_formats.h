// The decoders behind decode.h, one per format, and what they share.
// Rule: only decode*.cc include this; each decoder checks its own header against the limits first.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/decode.h"
#include "engine/error.h"

namespace tessera {

Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name,
                  const DecodeLimits& limits);
Image decode_png(std::span<const uint8_t> bytes, const std::string& name,
                 const DecodeLimits& limits);

inline void check_pixels(int64_t width, int64_t height, const std::string& name,
                         const DecodeLimits& limits) {
  TESSERA_CHECK(width > 0 && height > 0 && width <= limits.max_pixels / height,
                "[decode] {}: {} x {} pixels, the limit is {} pixels", name, width, height,
                limits.max_pixels);
}

}  // namespace tessera
