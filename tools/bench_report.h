// What a benchmark has to say, once: named figures, a table, bars and dots. From it come the text
// for people, the line of JSON for machines and the page with pictures.
// Rule: a benchmark fills a Report and prints nothing itself.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/bench_measure.h"
#include "train/limits.h"

namespace tessera {

using Value = nlohmann::ordered_json;  // a number, a word, null; anything for the JSON line alone

// One number or word of the whole run.
struct Figure {
  std::string key;    // in the JSON line
  std::string label;  // for people; empty: the title says it already
  Value value;
  std::string unit = "";  // for people, as the two below
  int digits = 1;
  double scale = 1;  // 100 shows a share in per cent
};

struct Column {
  std::string key, label;  // an empty label: in the JSON line alone
  int digits = 0;
  double scale = 1;
};

// A bar of length `share` of a limit. Bars of one group stand together under its name; `series` is
// what is compared within a group and has one colour on the whole page.
struct Bar {
  std::string group, series;
  double share = 0;
  std::string note;  // at its end
};

// A place on the roofline picture.
struct Dot {
  std::string name, series;
  double flops_per_byte = 0, flops_per_second = 0;
};

struct Report {
  std::string title;  // one line
  std::vector<Figure> figures;
  std::vector<Column> columns;
  std::vector<std::vector<Value>> rows;  // a value for each column
  std::string bars_title;
  std::vector<Bar> bars;
  Limits limits;  // the roof; bytes 0: no picture of it
  std::vector<Dot> dots;
};

// A value as a person reads it; null is a dash.
std::string shown(const Value& value, int digits, double scale);

std::string text_of(const Report& report);
// The figures as one object; the table as "rows", an array of objects. One line.
std::string json_of(const Report& report);
// A whole page: HTML, styles and SVG in one file that refers to nothing outside it.
std::string html_of(const Report& report);

// --json and --html of every bench command.
struct ReportFlags {
  bool json = false;
  std::string html;

  void add_to(CLI::App& app);
  void check() const;  // UsageError where the page could not be written: before the work, not after
  void publish(const Report& report) const;  // text or JSON on stdout, and the page
};

}  // namespace tessera
