// How many patches a picture has, down and across.
#pragma once

#include <cstdint>

namespace tessera {

// Patches of a picture; empty: none.
struct Grid {
  int64_t rows = 0, columns = 0;

  int64_t patches() const { return rows * columns; }
  bool empty() const { return patches() == 0; }
  bool operator==(const Grid&) const = default;
};

}  // namespace tessera
