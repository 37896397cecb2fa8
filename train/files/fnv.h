// FNV-1a (Fowler, Noll and Vo), 64 bits: a sum by which texts, weights or ids are told apart.
// Rule: against accidents alone; whoever wants two inputs of one sum can make them.
#pragma once

#include <cstdint>
#include <string_view>

namespace tessera {

inline constexpr uint64_t kFnvStart = 0xcbf29ce484222325u;

// `sum` is that of what came before.
constexpr uint64_t fnv1a(std::string_view bytes, uint64_t sum = kFnvStart) {
  for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return sum;
}

}  // namespace tessera
