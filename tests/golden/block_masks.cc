// Block-wise masks: how often patches are masked, against what the reference's generator yields.
// The reference's numbers are averages over its `samples` draws and so have an error of their own:
// of 20,000 draws a single corner, masked in 4 % of them, is known to 0.0014, which is 3.3 % of
// it; 1 % of it could not be told from chance. What is allowed is therefore the larger of 1 %, or
// less where an average is known so well, and three standard errors of the reference's draws. They
// follow from the spread of our own, of which there are more, so that ours hardly add to them.
// Layout: {"samples": N, "rows": [{"grid": [H, W], "num_masking_patches", "min_num_patches", and
// the statistics}]}.
#include "models/block_masks.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/golden/golden.h"

namespace tessera::golden {
namespace {

using Json = nlohmann::json;

constexpr int64_t kDraws = 4;        // ours for one of the reference's
constexpr double kErrors = 3;        // standard errors
constexpr double kMeanCount = 1e-3;  // relative, as are the next
constexpr double kNeighbours = 5e-3;
constexpr double kOther = 1e-2;

// What each draw has one or several of, alike by symmetry.
class Average {
 public:
  void add(double value) {
    values_.push_back(value);
    mean_ += (value - mean_) / double(values_.size());
  }
  double mean() const { return mean_; }
  double moment(int order) const {  // about the mean
    double sum = 0;
    for (const double v : values_) sum += std::pow(v - mean_, order);
    return sum / double(values_.size());
  }
  double deviation() const { return std::sqrt(moment(2)); }
  double largest() const { return *std::max_element(values_.begin(), values_.end()); }

 private:
  std::vector<double> values_;
  double mean_ = 0;
};

struct Statistics {
  Average count, centre, corner, edge_row, horizontal, vertical;
};

Statistics statistics_of(const BlockMaskOptions& options, int64_t draws) {
  const int64_t h = options.grid.rows, w = options.grid.columns;
  Statistics s;
  for (int64_t n = 0; n < draws; ++n) {
    PhiloxStream random = stream_at({1, 0, kSiteMask}, static_cast<uint64_t>(n));
    const std::vector<uint8_t> mask = draw_block_mask(options, random);
    int64_t agree_across = 0, agree_down = 0;
    for (int64_t i = 0; i < h * w; ++i) {
      agree_across += i % w + 1 < w && mask[i] == mask[i + 1];
      agree_down += i / w + 1 < h && mask[i] == mask[i + w];
    }
    s.count.add(double(std::count(mask.begin(), mask.end(), uint8_t{1})));
    s.horizontal.add(double(agree_across) / double(h * (w - 1)));
    s.vertical.add(double(agree_down) / double((h - 1) * w));
    for (const int64_t row : {int64_t{0}, h - 1}) {
      const auto first = mask.begin() + row * w;
      s.edge_row.add(double(std::count(first, first + w, uint8_t{1})) / double(w));
      for (const int64_t column : {int64_t{0}, w - 1}) s.corner.add(mask[row * w + column]);
    }
    for (const int64_t row : {h / 2, h - 1 - h / 2}) {
      for (const int64_t column : {w / 2, w - 1 - w / 2}) s.centre.add(mask[row * w + column]);
    }
  }
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
    const Statistics s = statistics_of(options, kDraws * samples);
    const auto check = [&](const char* key, double have, double share, double error) {
      const double want = row.at(key).get<double>();
      report.count(fmt::format("{} row {} {}", name, row_number, key),
                   fault_of(have, want, std::max(share * want, kErrors * error)));
    };
    const double root = std::sqrt(double(samples));
    const auto check_mean = [&](const char* key, const Average& average, double share) {
      check(key, average.mean(), share, average.deviation() / root);
    };
    check_mean("mean_count", s.count, kMeanCount);
    // The error of a variance is that of a mean of squares.
    const double spread = s.count.deviation(), variance = spread * spread;
    check("std_count", spread, kOther,
          std::sqrt(s.count.moment(4) - variance * variance) / root / (2 * spread));
    check("max_count", s.count.largest(), 0, 0);
    check_mean("mean_centre", s.centre, kOther);
    check_mean("mean_corner", s.corner, kOther);
    check_mean("mean_edge_row", s.edge_row, kOther);
    check_mean("horizontal_neighbour_agreement", s.horizontal, kNeighbours);
    check_mean("vertical_neighbour_agreement", s.vertical, kNeighbours);
    ++row_number;
  }
}

}  // namespace tessera::golden
