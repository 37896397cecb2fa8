// Curves drawn and read back: where a value stands, what ends say, which figures there are.
#include "train/curves.h"

#include <catch2/catch.hpp>
#include <regex>

#include "engine/error.h"
#include "tests/tools/well_formed.h"

namespace tessera {
namespace {

using Catch::Contains;

// A run that logs `loss` at every step, ten steps an epoch, and top1 at each epoch's end.
RunCurve run_of(const std::string& name, const std::vector<double>& losses, double top1) {
  RunCurve run{name, {}};
  for (size_t i = 0; i < losses.size(); ++i) {
    MetricRecord record{static_cast<int64_t>(i) + 1, {}};
    record.add("epoch", static_cast<double>(i + 1) / 10);
    record.add("loss", losses[i]);
    record.add("lr", 0.1);
    if ((i + 1) % 10 == 0) record.add("top1", top1 * static_cast<double>(i + 1));
    run.records.push_back(record);
  }
  return run;
}

// The points of the n-th line of a picture.
std::vector<std::pair<double, double>> line(const std::string& svg, int n) {
  static const std::regex kLine("<polyline class=\"curve\"[^>]*points=\"([^\"]*)\"");
  auto found = std::sregex_iterator(svg.begin(), svg.end(), kLine);
  for (; n > 0 && found != std::sregex_iterator(); --n) ++found;
  REQUIRE(found != std::sregex_iterator());
  std::vector<std::pair<double, double>> points;
  std::istringstream text((*found)[1]);
  double x, y;
  char comma;
  while (text >> x >> comma >> y) points.emplace_back(x, y);
  return points;
}

TEST_CASE("a curve passes through its values in proportion") {
  const std::string svg = curves_svg({run_of("", {4, 3, 2, 1}, 0)}, {"loss"});
  CHECK(markup_fault(svg) == "");
  const auto points = line(svg, 0);
  REQUIRE(points.size() == 4);
  for (size_t i = 1; i < 4; ++i) {  // equal steps right and down
    CHECK(points[i].first - points[i - 1].first ==
          Approx(points[1].first - points[0].first).margin(0.2));
    CHECK(points[i].second - points[i - 1].second ==
          Approx(points[1].second - points[0].second).margin(0.2));
  }
  CHECK(points[1].first > points[0].first);
  CHECK(points[1].second > points[0].second);  // y grows downwards: the loss falls
  CHECK_THAT(svg, Contains(">1</text></g>"));  // the last value, at the end
}

TEST_CASE("many records are averaged, not thinned") {
  std::vector<double> losses;
  for (int i = 0; i < 20 * 160; ++i) losses.push_back(i % 2 == 0 ? 0 : 10);
  const std::string svg = curves_svg({run_of("", losses, 0)}, {"loss"});
  const auto points = line(svg, 0);
  REQUIRE(points.size() == 160);
  // Record i lies at i + 1: 19 records in the first bin, 21 in the last, 20 in the others.
  for (size_t i = 1; i < 159; ++i) CHECK(points[i].second == points[1].second);
  CHECK(points[0].second > points[1].second);    // 90 / 19
  CHECK(points[159].second < points[1].second);  // 110 / 21
  CHECK_THAT(svg, Contains(">5.238</text></g>"));
}

TEST_CASE("figures stand in the order in which they appear, without what is no result") {
  const std::vector<RunCurve> runs = {run_of("a", std::vector<double>(20, 1.0), 2)};
  CHECK(curve_figures(runs) == std::vector<std::string>{"loss", "top1"});
  CHECK_THROWS_AS(curves_svg(runs, {"frobnicate"}), UsageError);
  CHECK_THROWS_WITH(curves_svg(runs, {"frobnicate"}), Contains("loss, top1"));
  CHECK_THROWS_AS(curves_svg(runs, {}), UsageError);
}

TEST_CASE("runs of one name share a colour; their mean and deviation are said") {
  const std::vector<double> losses(20, 1.0);
  const std::string svg = curves_svg(
      {run_of("b & c", losses, 1), run_of("b & c", losses, 2), run_of("d", losses, 5)}, {"top1"});
  CHECK(markup_fault(svg) == "");
  CHECK_THAT(svg, Contains("b &amp; c"));
  CHECK_THAT(svg, Contains(">30 ± 14</text>"));  // 20 and 40
  CHECK_THAT(svg, Contains(">100</text></g>"));
  const std::regex stroke("stroke=\"(var\\(--c[0-9]\\))\" points");
  std::vector<std::string> colours;
  for (auto i = std::sregex_iterator(svg.begin(), svg.end(), stroke); i != std::sregex_iterator();
       ++i) {
    colours.push_back((*i)[1]);
  }
  REQUIRE(colours.size() == 3);
  CHECK(colours[0] == colours[1]);
  CHECK(colours[0] != colours[2]);
}

TEST_CASE("one value, and a run without epochs, have their axes too") {
  RunCurve run{"", {MetricRecord{7, {{"loss", 2.5}}}}};
  const std::string svg = curves_svg({run}, {"loss"});
  CHECK(markup_fault(svg) == "");
  CHECK_THAT(svg, Contains(">steps</text>"));
  CHECK_THAT(svg, !Contains("nan") && !Contains("inf"));
  CHECK(line(svg, 0).size() == 1);
}

TEST_CASE("a figure that stays as it is has an axis, whatever its mean rounds to") {
  for (const double value : {0.7, 0.1, -0.385, 1e-12, 0.0, 12345.678}) {
    INFO(value);
    // 703 records do not fill the bins evenly: their means are a last place apart.
    const std::string svg = curves_svg({run_of("", std::vector<double>(703, value), 0)}, {"loss"});
    CHECK(markup_fault(svg) == "");
    CHECK(svg.size() < 100'000);
  }
}

}  // namespace
}  // namespace tessera
