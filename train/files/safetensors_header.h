// The JSON header of a safetensors file, apart from any file: text to entries and back.
// Rule: the parser accepts what the format allows and refuses all else as it streams by; it builds
// no document, so a hostile header costs no more memory than a few times its own size.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/files/safetensors.h"

namespace tessera {

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // offsets count from the start of the data
  Metadata metadata;
};

// Entries come sorted by offset, cover [0, data_bytes) without holes, and have sizes that agree
// with dtype and shape. An Error says what is wrong, without a file name.
SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes);

// The header for tensors that lie in the given order, padded with spaces so that it and the eight
// bytes before it end on a multiple of eight. An Error for a name that is used twice or reserved,
// or is no UTF-8.
std::string make_safetensors_header(std::span<const SafetensorsTensor> tensors,
                                    const Metadata& metadata);

// Bytes of the tensor's data; an Error when the number leaves 64 bits.
uint64_t safetensors_bytes(DType dtype, const Shape& shape);

}  // namespace tessera
