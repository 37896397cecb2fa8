// One report, three faces; and the clocks behind it.
#include "tools/bench_report.h"

#include <catch2/catch.hpp>
#include <thread>

#include "tests/tools/well_formed.h"

namespace tessera {
namespace {

Report example() {
  Report r;
  r.title = "Speed & <size>";
  r.figures = {{"bench", "", "example"},
               {"step_s", "step", 0.25, "s", 3},
               {"utilisation", "utilisation", 0.5, "%", 1, 100},
               {"threads", "threads", 2}};
  r.columns = {{"op", "op"}, {"seconds", "ms", 1, 1e3}, {"n", "n"}, {"hidden", ""}};
  r.rows = {{"add", 0.5, 7, 1}, {"softmax", nullptr, 1234, 2}};
  r.bars_title = "Bars";
  r.bars = {{"one", "ours", 0.5, "5 GB/s"}, {"one", "\"theirs\"", 1.25, "<12>"}};
  r.limits = {1e11, 2e10};
  r.dots = {{"a<b", "forward", 0.125, 1e9}, {"gemm", "backward", 80, 9e10}};
  return r;
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++found;
  return found;
}

}  // namespace

TEST_CASE("a report for people: figures, then a table with words left and numbers right") {
  CHECK(text_of(example()) ==
        "Speed & <size>\n"
        "  step                0.250 s\n"
        "  utilisation          50.0 %\n"
        "  threads                 2\n"
        "\n"
        "  op          ms     n\n"
        "  add      500.0     7\n"
        "  softmax      -  1234\n");
}

TEST_CASE("a report for machines: one line, every key, unrounded") {
  CHECK(json_of(example()) ==
        R"({"bench":"example","step_s":0.25,"utilisation":0.5,"threads":2,"rows":[)"
        R"({"op":"add","seconds":0.5,"n":7,"hidden":1},)"
        R"({"op":"softmax","seconds":null,"n":1234,"hidden":2}]})"
        "\n");
}

TEST_CASE("a report as a page: whole, escaped, with one bar and one dot for each") {
  const std::string page = html_of(example());
  CHECK(markup_fault(page) == "");
  CHECK(page.find("Speed &amp; &lt;size&gt;") != page.npos);
  CHECK(page.find("http") == page.npos);
  CHECK(page.find("<script") == page.npos);
  CHECK(page.find("url(") == page.npos);
  CHECK(count(page, "<rect") == 2);
  CHECK(count(page, "<circle") == 2);
  CHECK(count(page, "<svg") == 2);
  CHECK(count(page, "<tr>") == 3);
  // Nothing is drawn beyond the frame: the longest bar fits, and the table leaves out what it
  // shall.
  CHECK(page.find("hidden") == page.npos);
  for (const char* bad : {"nan", "inf"}) CHECK(page.find(bad) == page.npos);

  Report bare = example();
  bare.bars.clear();
  bare.dots.clear();
  bare.rows.clear();
  CHECK(count(html_of(bare), "<svg") == 0);
  CHECK(markup_fault(html_of(bare)) == "");
}

TEST_CASE("a page that is not well-formed is seen") {
  CHECK(markup_fault("<a><b></b></a>") == "");
  CHECK(markup_fault("<a><b></a></b>") != "");
  CHECK(markup_fault("<a>") != "");
  CHECK(markup_fault("<a>x & y</a>") != "");
  CHECK(markup_fault("<a>x &amp; y</a>") == "");
  CHECK(markup_fault("<a>x > y</a>") != "");
  CHECK(markup_fault("<a b=c></a>") != "");
  CHECK(markup_fault("<a b=\"c\"/>") == "");
  CHECK(markup_fault("<a/>loose") != "");
}

TEST_CASE("a bar's length is its share: the limit's line is at 100 %") {
  Report r = example();
  r.bars = {{"g", "s", 0.5, "half"}, {"g", "s", 1.0, "whole"}};
  const std::string page = html_of(r);
  std::vector<double> widths;
  for (size_t at = 0; (at = page.find("<rect", at)) != page.npos; ++at) {
    const size_t width = page.find("width=\"", at) + 7;
    widths.push_back(std::stod(page.substr(width)));
  }
  REQUIRE(widths.size() == 2);
  CHECK(widths[1] == Approx(2 * widths[0]).epsilon(1e-3));
}

TEST_CASE("median") {
  CHECK(median({}) == 0);
  CHECK(median({3}) == 3);
  CHECK(median({5, 1, 3}) == 3);
  CHECK(median({4, 1, 3, 2}) == 3);
}

TEST_CASE("works are timed in turn, the first round does not count") {
  std::string order;
  const auto sleep = [&](char name, int ms) {
    return [&order, name, ms, first = true]() mutable {
      order += name;
      std::this_thread::sleep_for(std::chrono::milliseconds(first ? 60 : ms));
      first = false;
    };
  };
  const std::vector<double> times = medians_in_turn({sleep('a', 2), sleep('b', 10)}, 1e-9);
  REQUIRE(times.size() == 2);
  CHECK(order == "abababab");  // three rounds at least, after one to warm up
  CHECK(times[0] >= 0.002);
  CHECK(times[1] >= 0.010);
  CHECK(times[0] < times[1]);
  CHECK(times[1] < 0.060);
}

TEST_CASE("limits are of the order that any machine has") {
  const Limits limits = measure_limits(DType::kF32);
  CHECK(limits.flops > 1e8);
  CHECK(limits.flops < 1e14);
  CHECK(limits.bytes > 1e8);
  CHECK(limits.bytes < 1e13);
  const Limits better = better_of({1, 4}, {2, 3});
  CHECK(better.flops == 2);
  CHECK(better.bytes == 4);
}

}  // namespace tessera
