// The text, the JSON line, and the flags that choose.
#include "tools/bench_report.h"

#include <algorithm>

#include "engine/error.h"
#include "train/files/atomic_file.h"
#include "train/files/file_io.h"

namespace tessera {
namespace {

// Columns two blanks apart; words to the left, numbers to the right.
std::string table_of(const Report& report) {
  std::string text;
  std::vector<std::string> lines(report.rows.size() + 1);
  for (size_t c = 0; c < report.columns.size(); ++c) {
    const Column& column = report.columns[c];
    if (column.label.empty()) continue;
    std::vector<std::string> cells = {column.label};
    bool words = false;
    for (const auto& row : report.rows) {
      cells.push_back(shown(row[c], column.digits, column.scale));
      words = words || row[c].is_string();
    }
    size_t width = 0;
    for (const std::string& cell : cells) width = std::max(width, cell.size());
    for (size_t i = 0; i < cells.size(); ++i) {
      lines[i] += words ? fmt::format("  {:<{}}", cells[i], width)
                        : fmt::format("  {:>{}}", cells[i], width);
    }
  }
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace

std::string shown(const Value& value, int digits, double scale) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer() && scale == 1) return fmt::format("{}", value.get<int64_t>());
  return fmt::format("{:.{}f}", value.get<double>() * scale, digits);
}

std::string text_of(const Report& report) {
  std::string text = report.title + "\n";
  size_t width = 14;
  for (const Figure& figure : report.figures) width = std::max(width, figure.label.size());
  for (const Figure& figure : report.figures) {
    if (figure.label.empty()) continue;
    const std::string value = shown(figure.value, figure.digits, figure.scale);
    const char* blank = figure.unit.empty() ? "" : " ";
    text += fmt::format("  {:<{}} {:>10}{}{}\n", figure.label, width, value, blank, figure.unit);
  }
  if (!report.rows.empty()) text += "\n" + table_of(report);
  return text;
}

std::string json_of(const Report& report) {
  Value line = Value::object();
  for (const Figure& figure : report.figures) line[figure.key] = figure.value;
  for (const auto& row : report.rows) {
    Value object = Value::object();
    for (size_t c = 0; c < report.columns.size(); ++c) object[report.columns[c].key] = row[c];
    line["rows"].push_back(std::move(object));
  }
  return line.dump() + "\n";
}

void ReportFlags::add_to(CLI::App& app) {
  app.add_flag("--json", json, "one line of JSON instead of the table");
  app.add_option("--html", html, "also write a page with bars and pictures")->type_name("FILE");
}

void ReportFlags::check() const {
  if (!html.empty()) check_place_for_file("--html", html);
}

void ReportFlags::publish(const Report& report) const {
  if (!html.empty()) write_file_atomically(html, html_of(report));
  fmt::print("{}", json ? json_of(report) : text_of(report));
}

}  // namespace tessera
