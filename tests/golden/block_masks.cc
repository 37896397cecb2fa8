// Block-wise masks: how often patches are masked, against what the reference's generator yields.
// The numbers are averages of a finite draw on both sides. At 20,000 draws a single patch's share
// has a deviation of 0.003, the counts' deviation one of 1.4 % of itself (its fourth moment is 17
// times that of a square), everything else is ten times better known than its bound.
// Layout: {"samples": N, "rows": [{"grid": [H, W], "num_masking_patches", "min_num_patches", and
// the statistics}]}.
#include "models/block_masks.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/golden/golden.h"

namespace tessera::golden {
namespace {

using Json = nlohmann::json;

constexpr double kMeanCount = 0.001;      // relative
constexpr double kCountDeviation = 0.05;  // relative
constexpr double kPatch = 0.01;           // a patch's share of draws
constexpr double kMany = 0.005;           // shares over a row or the grid

struct Statistics {
  double mean_count = 0, count_deviation = 0, most = 0;
  double centre = 0, corner = 0, edge_row = 0, horizontal = 0, vertical = 0;
};

Statistics statistics_of(const BlockMaskOptions& options, int64_t samples) {
  const int64_t h = options.grid.rows, w = options.grid.columns;
  std::vector<double> share(static_cast<size_t>(h * w), 0.0);
  double sum = 0, squares = 0;
  Statistics s;
  for (int64_t n = 0; n < samples; ++n) {
    PhiloxStream random = stream_at({1, 0, kSiteMask}, static_cast<uint64_t>(n));
    const std::vector<uint8_t> mask = draw_block_mask(options, random);
    double count = 0;
    int64_t agree_across = 0, agree_down = 0;
    for (int64_t i = 0; i < h * w; ++i) {
      count += mask[i];
      share[i] += mask[i] / double(samples);
      agree_across += i % w + 1 < w && mask[i] == mask[i + 1];
      agree_down += i / w + 1 < h && mask[i] == mask[i + w];
    }
    sum += count;
    squares += count * count;
    s.most = std::max(s.most, count);
    s.horizontal += double(agree_across) / double(h * (w - 1) * samples);
    s.vertical += double(agree_down) / double((h - 1) * w * samples);
  }
  s.mean_count = sum / double(samples);
  s.count_deviation = std::sqrt(squares / double(samples) - s.mean_count * s.mean_count);
  // What is alike by symmetry is averaged.
  const auto four = [&](int64_t y, int64_t x) {
    return (share[y * w + x] + share[y * w + w - 1 - x] + share[(h - 1 - y) * w + x] +
            share[(h - 1 - y) * w + w - 1 - x]) /
           4;
  };
  s.centre = four(h / 2, w / 2);
  s.corner = four(0, 0);
  for (int64_t x = 0; x < w; ++x) s.edge_row += four(0, x) / double(w);
  return s;
}

std::string fault_of(double have, double want, double allowed) {
  if (std::fabs(have - want) <= allowed) return "";
  return fmt::format("is {:.5f} for {:.5f}, off by {:.5f} where {:.5f} is allowed", have, want,
                     std::fabs(have - want), allowed);
}

}  // namespace

void run_block_masks(const std::string& path, const std::string& name, Report& report) {
  std::ifstream file(path);
  const Json all = Json::parse(file);
  const int64_t samples = all.at("samples").get<int64_t>();
  TESSERA_CHECK(samples > 0 && !all.at("rows").empty(), "holds no statistics");
  int row_number = 0;
  for (const Json& row : all.at("rows")) {
    BlockMaskOptions options;
    options.grid = {row.at("grid").at(0).get<int64_t>(), row.at("grid").at(1).get<int64_t>()};
    options.target = row.at("num_masking_patches").get<int64_t>();
    options.min_block = row.at("min_num_patches").get<int64_t>();
    options.check();
    const Statistics s = statistics_of(options, samples);
    const auto check = [&](const char* key, double have, double allowed) {
      report.count(fmt::format("{} row {} {}", name, row_number, key),
                   fault_of(have, row.at(key).get<double>(), allowed));
    };
    const auto want = [&](const char* key) { return row.at(key).get<double>(); };
    check("mean_count", s.mean_count, kMeanCount * want("mean_count"));
    check("std_count", s.count_deviation, kCountDeviation * want("std_count"));
    check("max_count", s.most, 0);
    check("mean_centre", s.centre, kPatch);
    check("mean_corner", s.corner, kPatch);
    check("mean_edge_row", s.edge_row, kMany);
    check("horizontal_neighbour_agreement", s.horizontal, kMany);
    check("vertical_neighbour_agreement", s.vertical, kMany);
    ++row_number;
  }
}

}  // namespace tessera::golden
