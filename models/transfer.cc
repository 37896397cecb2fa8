// Names and sizes from one model to the next.
#include "models/transfer.h"

#include <cmath>
#include <set>

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/cubic_spline.h"

namespace tessera {
namespace {

constexpr std::string_view kSharedTable = "rel_pos_bias.relative_position_bias_table";
constexpr int64_t kClassRows = 3;  // of a relative bias table, at its end

// Whole numbers from -reach to reach.
std::vector<double> whole_distances(int64_t reach) {
  std::vector<double> distances;
  for (int64_t d = -reach; d <= reach; ++d) distances.push_back(double(d));
  return distances;
}

// Distances +-1, +-(1 + q), +-(1 + q + q^2), ...: `reach` of them on each side, with q from
// [1.01, 1.5] so that the last comes closest to `last`. The reference's bisection.
std::vector<double> geometric_distances(int64_t reach, int64_t last) {
  double low = 1.01, high = 1.5, q = low;
  while (high - low > 1e-6) {
    q = (low + high) / 2;
    const double sum = (1 - std::pow(q, double(reach))) / (1 - q);
    (sum > double(last) ? high : low) = q;
  }
  std::vector<double> distances = {0};
  double distance = 1, step = 1;
  for (int64_t i = 0; i < reach; ++i) {
    distances.push_back(distance);
    distances.insert(distances.begin(), -distance);
    step *= q;
    distance += step;
  }
  return distances;
}

// (new distances, old distances): how the values along one side of the grid are resampled.
std::vector<double> resampling(int64_t from, int64_t to) {
  TESSERA_CHECK_USAGE(from == to || from >= 3,
                      "a relative bias learned on {} patches a side cannot be resized: at least 3 "
                      "are needed",
                      from);
  const std::vector<double> wanted = whole_distances(to - 1);
  if (from != to) return cubic_spline_weights(geometric_distances(from - 1, to - 1), wanted);
  std::vector<double> same(wanted.size() * wanted.size(), 0.0);
  for (size_t i = 0; i < wanted.size(); ++i) same[i * wanted.size() + i] = 1;
  return same;
}

bool stays_behind(std::string_view name) {
  for (const char* prefix : {"decoder_", "lm_head.", "norm.", "fc_norm.", "head."}) {
    if (name.starts_with(prefix)) return true;
  }
  return name == "mask_token" || name.ends_with("relative_position_index");
}

}  // namespace

VitConfig encoder_of(const MaeConfig& mae) {
  VitConfig config;
  config.image_height = mae.image_height;
  config.image_width = mae.image_width;
  config.patch = mae.patch;
  config.channels = mae.channels;
  config.dim = mae.dim;
  config.depth = mae.depth;
  config.heads = mae.heads;
  config.mlp_ratio = mae.mlp_ratio;
  config.norm_eps = mae.norm_eps;
  return config;
}

VitConfig encoder_of(const VitConfig& beit) {
  VitConfig config = beit;
  if (beit.relative_bias == RelativeBias::kShared) config.relative_bias = RelativeBias::kPerBlock;
  return config;
}

Tensor resize_positions(const Tensor& positions, const Grid& from, const Grid& to) {
  TESSERA_CHECK(positions.defined() && positions.ndim() == 3 && positions.size(0) == 1 &&
                    positions.size(1) == 1 + from.patches(),
                "[resize_positions] {} is no table of 1 + {} x {} positions", describe(positions),
                from.rows, from.columns);
  if (from == to) return positions;
  const NoGrad no_grad;
  const int64_t dim = positions.size(2);
  const Tensor grid =
      permute(reshape(slice(positions, 1, 1, positions.size(1)), {1, from.rows, from.columns, dim}),
              {0, 3, 1, 2});
  const Tensor resized = interpolate(grid, to.rows, to.columns, InterpolateMode::kBicubic);
  return cat(
      {slice(positions, 1, 0, 1), reshape(permute(resized, {0, 2, 3, 1}), {1, to.patches(), dim})},
      1);
}

Tensor resize_relative_bias(const Tensor& table, const Grid& from, const Grid& to) {
  TESSERA_CHECK(table.defined() && table.ndim() == 2 && table.size(0) == relative_distances(from),
                "[resize_relative_bias] {} is no table of {} x {} patches", describe(table),
                from.rows, from.columns);
  if (from == to) return table;
  const int64_t rows = 2 * from.rows - 1, columns = 2 * from.columns - 1, heads = table.size(1);
  const int64_t new_rows = 2 * to.rows - 1, new_columns = 2 * to.columns - 1;
  const std::vector<double> down = resampling(from.rows, to.rows);
  const std::vector<double> across = resampling(from.columns, to.columns);
  const std::vector<float> old = raw::to(table, DType::kF32).to_vector<float>();
  // First along the columns, then along the rows.
  std::vector<double> half(static_cast<size_t>(rows * new_columns * heads), 0.0);
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < new_columns; ++x) {
      for (int64_t i = 0; i < columns; ++i) {
        for (int64_t h = 0; h < heads; ++h) {
          half[(y * new_columns + x) * heads + h] +=
              across[x * columns + i] * old[(y * columns + i) * heads + h];
        }
      }
    }
  }
  std::vector<float> resized;
  const int64_t line = new_columns * heads;
  for (int64_t y = 0; y < new_rows; ++y) {
    for (int64_t x = 0; x < line; ++x) {
      double value = 0;
      for (int64_t i = 0; i < rows; ++i) value += down[y * rows + i] * half[i * line + x];
      resized.push_back(static_cast<float>(value));
    }
  }
  resized.insert(resized.end(), old.end() - kClassRows * heads, old.end());
  return Tensor::from(resized, {relative_distances(to), heads}, table.device());
}

void load_encoder(VitClassifier& model, const std::map<std::string, Tensor>& weights,
                  const Grid& grid) {
  const VitConfig& config = model.config();
  std::map<std::string, Tensor> state;
  std::set<std::string_view> used;
  for (const auto& [name, tensor] : model.state_dict()) {
    const bool own = name.starts_with("head.") || name.starts_with("fc_norm.") ||
                     name.ends_with("relative_position_index");
    if (own) {
      state[name] = tensor;
      continue;
    }
    auto source = weights.find(name);
    const bool is_table = name.ends_with("relative_position_bias_table");
    if (is_table && source == weights.end()) source = weights.find(std::string(kSharedTable));
    TESSERA_CHECK(source != weights.end(), "[load_encoder] '{}' is missing", name);
    used.insert(source->first);
    if (is_table) {
      state[name] = resize_relative_bias(source->second, grid, config.grid());
    } else if (name == "pos_embed") {
      state[name] = resize_positions(source->second, grid, config.grid());
    } else {
      state[name] = source->second;
    }
  }
  for (const auto& [name, tensor] : weights) {
    TESSERA_CHECK(used.contains(name) || stays_behind(name),
                  "[load_encoder] the classifier has no '{}' {}", name, describe(tensor));
  }
  model.load_state_dict(state);
}

}  // namespace tessera
