// The index of distances, and a look-up.
#include "nn/relative_position.h"

#include <vector>

#include "autograd/functions.h"
#include "engine/raw.h"

namespace tessera {

int64_t relative_distances(const Grid& grid) {
  return (2 * grid.rows - 1) * (2 * grid.columns - 1) + 3;
}

Tensor relative_position_index(const Grid& grid) {
  TESSERA_CHECK(grid.rows > 0 && grid.columns > 0, "[relative_position_index] no grid: {} x {}",
                grid.rows, grid.columns);
  const int64_t tokens = 1 + grid.patches(), distances = relative_distances(grid);
  std::vector<int64_t> index;
  index.reserve(static_cast<size_t>(tokens * tokens));
  for (int64_t query = 0; query < tokens; ++query) {
    for (int64_t key = 0; key < tokens; ++key) {
      if (query == 0) {
        index.push_back(key == 0 ? distances - 1 : distances - 3);
      } else if (key == 0) {
        index.push_back(distances - 2);
      } else {
        const int64_t q = query - 1, k = key - 1;
        const int64_t down = q / grid.columns - k / grid.columns + grid.rows - 1;
        const int64_t right = q % grid.columns - k % grid.columns + grid.columns - 1;
        index.push_back(down * (2 * grid.columns - 1) + right);
      }
    }
  }
  return Tensor::from(index, {tokens, tokens});
}

Tensor relative_position_bias(const Tensor& table, const Tensor& index) {
  // Head by head, so that the attention reads whole rows.
  const Tensor by_head = index_select(transpose(table, 0, 1), 1, raw::reshape(index, {-1}));
  return reshape(by_head, {table.size(1), index.size(0), index.size(1)});
}

RelativePositionBias::RelativePositionBias(const Grid& grid, int64_t heads) {
  add_parameter("relative_position_bias_table", table_, {relative_distances(grid), heads});
  const int64_t tokens = 1 + grid.patches();
  add_buffer("relative_position_index", index_, {tokens, tokens}, 0, DType::kI64);
  raw::copy_(index_, relative_position_index(grid));
}

Tensor RelativePositionBias::operator()() const { return relative_position_bias(table_, index_); }

}  // namespace tessera
