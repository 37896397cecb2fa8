// A report as one HTML page: figures, bars, the roofline picture, the table.
// Rule: self-contained and well-formed: styles and SVG inline, every element closed, every text
// escaped, nothing fetched. A page may be mailed and opened in ten years.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/bench_report.h"
#include "train/svg.h"

namespace tessera {
namespace {

constexpr char kStyle[] = R"(
body { background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif;
  max-width: 940px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.45rem; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
dl { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: .8rem 0; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; }
p { color: var(--soft); margin: .3rem 0; }
svg { display: block; width: 100%; height: auto; margin-top: .5rem; }
svg .dot { stroke: var(--page); stroke-width: 1; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { color: var(--soft); font-weight: 600; } .word { text-align: left; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em; border-radius: 2px; }
)";

constexpr double kWidth = 900;

// The series in order of appearance; each has the colour of its place.
class Series {
 public:
  template <class Items>
  explicit Series(const Items& items) {
    for (const auto& item : items) {
      if (std::find(names_.begin(), names_.end(), item.series) == names_.end()) {
        names_.push_back(item.series);
      }
    }
  }
  std::string colour(const std::string& name) const {
    const auto place = std::find(names_.begin(), names_.end(), name) - names_.begin();
    return svg_colour(static_cast<size_t>(place));
  }
  std::string legend() const {
    std::string out = "<p>";
    for (const std::string& name : names_) {
      out += fmt::format("<span class=\"key\" style=\"background:{}\"></span>{}", colour(name),
                         svg_escaped(name));
    }
    return out + "</p>\n";
  }

 private:
  std::vector<std::string> names_;
};

std::string svg(double height, const std::string& name, const std::string& body) {
  return fmt::format("<svg viewBox=\"0 0 {} {:.0f}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
                     kWidth, height, svg_escaped(name), body);
}

// Horizontal bars, the limit a line at 100 %.
std::string bars_of(const Report& report) {
  constexpr double kLeft = 280, kRight = 800, kBar = 10, kGap = 8, kTop = 20;
  const Series series(report.bars);
  double most = 1;
  for (const Bar& bar : report.bars) most = std::max(most, bar.share);
  const auto x_of = [&](double share) { return kLeft + (kRight - kLeft) * share / most; };

  std::string body;
  double y = kTop;
  for (size_t i = 0; i < report.bars.size(); ++i) {
    const Bar& bar = report.bars[i];
    if (i == 0 || bar.group != report.bars[i - 1].group) {
      y += kGap;
      body += svg_label(kLeft - 8, y + kBar - 1, "end", bar.group);
    }
    body += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\">"
        "<title>{}: {}, {:.0f} %</title></rect>",
        kLeft, y, std::max(0.5, x_of(bar.share) - kLeft), kBar - 1, series.colour(bar.series),
        svg_escaped(bar.series), svg_escaped(bar.note), 100 * bar.share);
    body += svg_label(x_of(bar.share) + 4, y + kBar - 2, "start", bar.note, "soft") + "\n";
    y += kBar;
  }
  std::string grid;
  for (int percent = 0; percent <= 100 * most; percent += 25) {
    grid += svg_line(x_of(percent / 100.0), kTop, x_of(percent / 100.0), y + 4,
                     percent == 100 ? "limit" : "grid");
    grid +=
        svg_label(x_of(percent / 100.0), kTop - 6, "middle", fmt::format("{} %", percent), "soft");
  }
  return fmt::format("<h2>{}</h2>\n", svg_escaped(report.bars_title)) + series.legend() +
         svg(y + 8, report.bars_title, grid + "\n" + body);
}

// A logarithmic axis over whole decades.
struct Axis {
  double first, last;  // exponents of ten
  double from, to;     // on the page

  double at(double value) const {
    return from + (std::log10(value) - first) / (last - first) * (to - from);
  }
};

struct Box {
  double x0, y0, x1, y1;
  bool overlaps(const Box& o) const { return x0 < o.x1 && o.x0 < x1 && y0 < o.y1 && o.y0 < y1; }
};

// Speed over intensity (Williams, Waterman and Patterson, 2009): left of the ridge the copy is the
// roof, right of it the product. A name is drawn where there is room; a pointer shows every one.
std::string roofline_of(const Report& report) {
  constexpr double kHeight = 500, kLeft = 60, kRight = 880, kTop = 16, kBottom = 450;
  const Limits& limits = report.limits;
  const double ridge = limits.flops / limits.bytes;
  double least_x = ridge, most_x = ridge, least_y = limits.flops;
  for (const Dot& dot : report.dots) {
    least_x = std::min(least_x, dot.flops_per_byte);
    most_x = std::max(most_x, dot.flops_per_byte);
    least_y = std::min(least_y, dot.flops_per_second);
  }
  const Axis x = {std::floor(std::log10(least_x)), std::floor(std::log10(most_x)) + 1, kLeft,
                  kRight};
  const Axis y = {std::floor(std::log10(least_y)), std::floor(std::log10(limits.flops)) + 1,
                  kBottom, kTop};
  std::string body;
  for (double e = x.first; e <= x.last; ++e) {
    const double at = x.at(std::pow(10, e));
    body += svg_line(at, kTop, at, kBottom, "grid") +
            svg_label(at, kBottom + 16, "middle", fmt::format("{:g}", std::pow(10, e)), "soft");
  }
  for (double e = y.first; e <= y.last; ++e) {
    const double at = y.at(std::pow(10, e));
    body += svg_line(kLeft, at, kRight, at, "grid") +
            svg_label(kLeft - 6, at + 4, "end", fmt::format("{:g}", std::pow(10, e - 9)), "soft");
  }
  body += svg_label((kLeft + kRight) / 2, kBottom + 36, "middle", "FLOP a byte", "soft") +
          svg_label(kLeft + 6, kTop + 12, "start", "GFLOP/s", "soft");
  // The roof from where it enters the frame.
  const double enters = std::max(std::pow(10, x.first), std::pow(10, y.first) / limits.bytes);
  body += fmt::format(
      "<polyline class=\"limit\" points=\"{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}\"/>\n",
      x.at(enters), y.at(enters * limits.bytes), x.at(ridge), y.at(limits.flops), kRight,
      y.at(limits.flops));
  body += svg_label(kRight, y.at(limits.flops) - 6, "end",
                    fmt::format("product {:.0f} GFLOP/s, copy {:.1f} GB/s", limits.flops * 1e-9,
                                limits.bytes * 1e-9));

  constexpr double kRadius = 4, kLetter = 6.5, kLine = 12;
  const Series series(report.dots);
  std::vector<Box> taken;
  for (const Dot& dot : report.dots) {
    const double cx = x.at(dot.flops_per_byte), cy = y.at(dot.flops_per_second);
    taken.push_back({cx - kRadius, cy - kRadius, cx + kRadius, cy + kRadius});
  }
  std::string names;
  for (const Dot& dot : report.dots) {
    const double cx = x.at(dot.flops_per_byte), cy = y.at(dot.flops_per_second);
    body += fmt::format(
        "<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\">"
        "<title>{} ({}): {:.1f} GFLOP/s, {:.2f} FLOP a byte</title></circle>\n",
        cx, cy, kRadius, series.colour(dot.series), svg_escaped(dot.name), svg_escaped(dot.series),
        dot.flops_per_second * 1e-9, dot.flops_per_byte);
    const double width = kLetter * static_cast<double>(dot.name.size());
    const double gap = kRadius + 2;
    for (const double left : {cx + gap, cx - gap - width}) {
      const Box box = {left, cy - kLine / 2, left + width, cy + kLine / 2};
      const bool free = box.x0 > kLeft && box.x1 < kRight &&
                        std::none_of(taken.begin(), taken.end(),
                                     [&](const Box& other) { return box.overlaps(other); });
      if (!free) continue;
      taken.push_back(box);
      names += svg_label(left, cy + 4, "start", dot.name) + "\n";
      break;
    }
  }
  return "<h2>Roofline</h2>\n" + series.legend() + svg(kHeight, "roofline", body + names);
}

std::string figures_of(const Report& report) {
  std::string out = "<dl>\n";
  for (const Figure& figure : report.figures) {
    if (figure.label.empty()) continue;
    out += fmt::format("<div><dt>{}</dt><dd>{} {}</dd></div>\n", svg_escaped(figure.label),
                       svg_escaped(shown(figure.value, figure.digits, figure.scale)),
                       svg_escaped(figure.unit));
  }
  return out + "</dl>\n";
}

std::string table_of(const Report& report) {
  const auto cell = [](const char* tag, bool word, const std::string& text) {
    return fmt::format("<{0}{1}>{2}</{0}>", tag, word ? " class=\"word\"" : "", svg_escaped(text));
  };
  std::string head, body;
  for (size_t c = 0; c < report.columns.size(); ++c) {
    if (report.columns[c].label.empty()) continue;
    head += cell("th", report.rows[0][c].is_string(), report.columns[c].label);
  }
  for (const auto& row : report.rows) {
    body += "<tr>";
    for (size_t c = 0; c < report.columns.size(); ++c) {
      const Column& column = report.columns[c];
      if (column.label.empty()) continue;
      body += cell("td", row[c].is_string(), shown(row[c], column.digits, column.scale));
    }
    body += "</tr>\n";
  }
  return fmt::format(
      "<h2>Table</h2>\n<div class=\"scroll\"><table>\n<thead><tr>{}</tr></thead>\n"
      "<tbody>\n{}</tbody></table></div>\n",
      head, body);
}

}  // namespace

std::string html_of(const Report& report) {
  std::string body = fmt::format("<h1>{}</h1>\n", svg_escaped(report.title)) + figures_of(report);
  if (!report.bars.empty()) body += bars_of(report);
  if (!report.dots.empty()) body += roofline_of(report);
  if (!report.rows.empty()) body += table_of(report);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<title>{}</title>\n<style>{}{}{}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
      svg_escaped(report.title), kSvgPalette, kStyle, kSvgStyle, body);
}

}  // namespace tessera
